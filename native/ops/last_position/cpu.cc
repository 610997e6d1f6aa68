#include "ops/registry.h"

namespace tesserae::TESSERAE_ISA {

namespace {

void lastPosition(const KernelContext& c) {
  const TensorView& x = c.inputs[0];           // (B, T, C)
  const int32_t* lengths = c.inputs[1].i32();  // (B)
  const int64_t batch = x.factors[0].physical, time = x.factors[1].physical, columns = x.columns;
  for (int64_t b = 0; b < batch; ++b) {
    float* out = c.outputs[0].f32() + b * columns;  // (B, C)
    if (lengths[b] > 0) {
      const float* in = x.f32() + (b * time + lengths[b] - 1) * columns;
      for (int64_t i = 0; i < columns; ++i) out[i] = in[i];
    } else {
      for (int64_t i = 0; i < columns; ++i) out[i] = 0;
    }
  }
}

void lastPositionBackward(const KernelContext& c) {
  const float* dy = c.inputs[0].f32();         // (B, C)
  const TensorView& dx = c.outputs[0];         // (B, T, C)
  const int32_t* lengths = c.inputs[2].i32();  // (B)
  const int64_t time = dx.factors[1].physical, columns = dx.columns, rows = dx.rows;
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t b = row / time;
    const bool isLast = row % time == lengths[b] - 1;
    float* out = dx.f32() + row * columns;
    for (int64_t i = 0; i < columns; ++i) out[i] = isLast ? dy[b * columns + i] : 0;
  }
}

}  // namespace

void register_last_position_cpu(KernelRegistry& registry) {
  registry.add("last_position", lastPosition);
  registry.add("last_position_backward", lastPositionBackward);
}

}  // namespace tesserae::TESSERAE_ISA
