#include <cmath>

#include "ops/registry.h"
#include "ops/vector_math.h"

namespace tesserae::TESSERAE_ISA {

namespace {

void logSoftmax(const KernelContext& c) {
  const TensorView &x = c.inputs[0], &y = c.outputs[0];
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t row = 0; row < x.rows; ++row) {
    const float* in = x.f32() + row * x.columns;
    float* out = y.f32() + row * x.columns;
    float largest = in[0];
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < x.logicalColumns; ++i) largest = in[i] > largest ? in[i] : largest;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < x.logicalColumns; ++i) sum += vectorExp(in[i] - largest);
    const float normalizer = largest + std::log(sum);
#pragma omp simd
    for (int64_t i = 0; i < x.logicalColumns; ++i) out[i] = in[i] - normalizer;
    for (int64_t i = x.logicalColumns; i < x.columns; ++i) out[i] = 0;
  }
}

}  // namespace

void register_log_softmax_cpu(KernelRegistry& registry) { registry.add("log_softmax", logSoftmax); }

}  // namespace tesserae::TESSERAE_ISA
