#include "ops/registry.h"

namespace tesserae::TESSERAE_ISA {

namespace {

constexpr int64_t kLine = 16;  // floats in a cache line

void embedding(const KernelContext& c) {
  const int32_t* ids = c.inputs[0].i32();   // (B, T)
  const float* weight = c.inputs[1].f32();  // (V→Vp, C)
  const TensorView& addend = c.inputs[2];   // (B, T, C)
  const TensorView& y = c.outputs[0];       // (B, T, C)
  const int64_t columns = y.columns, vocabulary = c.inputs[1].factors[0].logical;
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t row = 0; row < y.rows; ++row) {
    float* out = y.f32() + row * columns;
    const float* around = addend.data ? addend.f32() + row * columns : nullptr;
    // A chain of decoding steps can meet the -1 of `choose` before the host sees it: such a row embeds as
    // zero.
    const bool known = ids[row] >= 0 && ids[row] < vocabulary;
    const float* from = known ? weight + ids[row] * columns : nullptr;
    if (from && around) {
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) out[i] = from[i] + around[i];
    } else if (from || around) {
      const float* in = from ? from : around;
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) out[i] = in[i];
    } else {
      for (int64_t i = 0; i < columns; ++i) out[i] = 0;
    }
  }
}

// dweight[v] = Σ dy[row] over the rows with ids[row] = v, in the order of the rows. Threads share out the
// columns, so that each sum is one thread's, whatever their number and however often a token occurs.
void embeddingBackward(const KernelContext& c) {
  const int32_t* ids = c.inputs[0].i32();    // (B, T)
  const TensorView& dy = c.inputs[1];        // (B, T, C)
  const TensorView& dweight = c.outputs[0];  // (V→Vp, C)
  const int64_t columns = dy.columns, vocabulary = dweight.factors[0].logical;
  const int64_t lines = (columns + kLine - 1) / kLine;
  const int64_t width = (lines + c.threads - 1) / c.threads * kLine;  // columns of a thread
  const bool store = !c.accumulate[0];
#pragma omp parallel num_threads(c.threads)
  {
    if (store) {
#pragma omp for schedule(static)
      for (int64_t i = 0; i < dweight.elements; ++i) dweight.f32()[i] = 0;
    }
#pragma omp for schedule(static)
    for (int64_t first = 0; first < columns; first += width) {
      const int64_t end = first + width < columns ? first + width : columns;
      for (int64_t row = 0; row < dy.rows; ++row) {
        if (ids[row] < 0 || ids[row] >= vocabulary) continue;  // embedded as zero
        const float* from = dy.f32() + row * columns;
        float* to = dweight.f32() + ids[row] * columns;
#pragma omp simd
        for (int64_t i = first; i < end; ++i) to[i] += from[i];
      }
    }
  }
}

}  // namespace

void register_embedding_cpu(KernelRegistry& registry) {
  registry.add("embedding", embedding);
  registry.add("embedding_backward", embeddingBackward);
}

}  // namespace tesserae::TESSERAE_ISA
