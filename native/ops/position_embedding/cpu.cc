#include "ops/registry.h"

namespace tesserae::TESSERAE_ISA {

namespace {

void positionEmbedding(const KernelContext& c) {
  const TensorView &x = c.inputs[0], &weight = c.inputs[1];      // (B, T, C), (P, C)
  const TensorView &start = c.inputs[2], &starts = c.inputs[3];  // (B), (B, T)
  float* y = c.outputs[0].f32();
  const int64_t columns = x.columns, time = x.factors[1].physical, last = weight.factors[0].logical - 1;
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t row = 0; row < x.rows; ++row) {
    int64_t position = row % time;
    if (start.data) position += start.i32()[row / time];
    if (starts.data) position -= starts.i32()[row];
    // Only rows beyond a sample's length, which nobody reads, can lie beyond the table.
    if (position > last) position = last;
    const float* in = x.f32() + row * columns;
    const float* added = weight.f32() + position * columns;
    float* out = y + row * columns;
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) out[i] = in[i] + added[i];
  }
}

// dweight[t] = Σ_b dy[b, t]; rows of the table beyond T are zero.
// The same where rows have documents: dweight[p] = Σ dy[b, t] over all t with t - starts[b, t] = p, in the
// order of (b, t). A task owns some columns of the whole table.
void documentsBackward(const KernelContext& c) {
  const TensorView &dy = c.inputs[0], &dweight = c.outputs[0];  // (B, T, C), (P, C)
  const int32_t* starts = c.inputs[2].i32();
  const int64_t columns = dy.columns, time = dy.factors[1].physical, block = 32;
  const bool store = !c.accumulate[0];
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t first = 0; first < columns; first += block) {
    const int64_t count = first + block < columns ? block : columns - first;
    float* table = dweight.f32() + first;
    for (int64_t p = 0; store && p < dweight.rows; ++p) {
      for (int64_t i = 0; i < count; ++i) table[p * columns + i] = 0;
    }
    for (int64_t row = 0; row < dy.rows; ++row) {
      float* out = table + (row % time - starts[row]) * columns;
      const float* from = dy.f32() + row * columns + first;
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) out[i] += from[i];
    }
  }
}

void positionEmbeddingBackward(const KernelContext& c) {
  if (c.inputs[2].data) return documentsBackward(c);
  const TensorView& dy = c.inputs[0];        // (B, T, C)
  const TensorView& dweight = c.outputs[0];  // (P, C)
  const int64_t columns = dy.columns, time = dy.factors[1].physical, batch = dy.factors[0].physical;
  const bool store = !c.accumulate[0];
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t position = 0; position < dweight.rows; ++position) {
    float* out = dweight.f32() + position * columns;
    if (store) {
      for (int64_t i = 0; i < columns; ++i) out[i] = 0;
    }
    if (position >= time) continue;
    for (int64_t b = 0; b < batch; ++b) {
      const float* from = dy.f32() + (b * time + position) * columns;
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) out[i] += from[i];
    }
  }
}

}  // namespace

void register_position_embedding_cpu(KernelRegistry& registry) {
  registry.add("position_embedding", positionEmbedding);
  registry.add("position_embedding_backward", positionEmbeddingBackward);
}

}  // namespace tesserae::TESSERAE_ISA
