#include <cmath>

#include "ops/attributes.h"
#include "ops/cuda_support.cuh"
#include "ops/registry.h"
#include "ops/state.h"
#include "runtime/philox.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;

// Eight columns of a row a thread: two calls of Philox, whose counter is a column / 4. y may be x.
template <class T>
__global__ void __launch_bounds__(kThreads)
    dropoutKernel(const T* x, T* y, const Counters* counters, uint64_t site, uint32_t vectors,
                  uint32_t vectorsOfRow, uint32_t rowsOfSample, uint32_t threshold, float scale) {
  const uint32_t vector = blockIdx.x * kThreads + threadIdx.x;
  if (vector >= vectors) return;
  const uint32_t row = vector / vectorsOfRow, column = vector % vectorsOfRow;  // in vectors
  const uint32_t sample = static_cast<uint32_t>(counters->firstSample + row / rowsOfSample);
  const uint64_t key = static_cast<uint64_t>(counters->seed) ^ site;
  const uint32_t attempted = static_cast<uint32_t>(counters->attempted);
  float v[kVector];
  loadVector(x + static_cast<int64_t>(vector) * kVector, v);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const Philox4 words = philox(key, column * 2 + half, row % rowsOfSample, sample, attempted);
#pragma unroll
    for (int i = 0; i < 4; ++i) v[half * 4 + i] *= words.v[i] >> 8 >= threshold ? scale : 0.0f;
  }
  storeVector(y + static_cast<int64_t>(vector) * kVector, v);
}

void dropout(const KernelContext& c) {
  const TensorView &x = c.inputs[0], &y = c.outputs[0];  // (B, ..., C)
  requireTypes("dropout", x.dtype, {&y});
  requireVectors("dropout", x.columns);
  const double p = c.attributes->number("p");
  const float scale = static_cast<float>(1 / (1 - p));
  // uniform01(bits) >= p, compared exactly: in units of its 24 bits.
  const uint32_t threshold = static_cast<uint32_t>(std::ceil(p * 16777216.0));
  const uint32_t vectors = static_cast<uint32_t>(x.elements / kVector);
  dispatchActivationType(x.dtype, "dropout", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    dropoutKernel<T><<<static_cast<unsigned>(divideUp(vectors, kThreads)), kThreads, 0, cudaStream(c)>>>(
        static_cast<const T*>(x.data), static_cast<T*>(y.data), c.inputs[1].as<Counters>(), c.site, vectors,
        static_cast<uint32_t>(x.columns / kVector), static_cast<uint32_t>(x.rows / x.factors[0].physical),
        threshold, scale);
  });
  cudaCheckLaunch("dropout");
}

}  // namespace

void register_dropout_cuda(KernelRegistry& registry) { registry.add("dropout", dropout); }

}  // namespace tesserae
