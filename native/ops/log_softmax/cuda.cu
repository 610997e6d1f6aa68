#include <cmath>

#include "ops/cuda_support.cuh"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 512;

// A block a row, which it reads three times: it is in the L2 cache after the first. y may be x where that is
// fp32: each thread stores only what it alone reads.
template <class T>
__global__ void __launch_bounds__(kThreads)
    logSoftmaxKernel(const T* x, float* y, int32_t columns, int32_t logical) {
  __shared__ float shared[kThreads / 32];
  const T* in = x + static_cast<int64_t>(blockIdx.x) * columns;
  float* out = y + static_cast<int64_t>(blockIdx.x) * columns;
  float largest = -INFINITY;
  for (int32_t first = threadIdx.x * kVector; first < logical; first += kThreads * kVector) {
    float v[kVector];
    loadVector(in + first, v);
#pragma unroll
    for (int i = 0; i < kVector; ++i) largest = first + i < logical && v[i] > largest ? v[i] : largest;
  }
  largest = blockMax<kThreads>(largest, shared);
  float sum = 0;
  for (int32_t first = threadIdx.x * kVector; first < logical; first += kThreads * kVector) {
    float v[kVector];
    loadVector(in + first, v);
#pragma unroll
    for (int i = 0; i < kVector; ++i) sum += first + i < logical ? expf(v[i] - largest) : 0.0f;
  }
  const float normalizer = largest + logf(blockSum<kThreads>(sum, shared));
  for (int32_t first = threadIdx.x * kVector; first < columns; first += kThreads * kVector) {
    float v[kVector];
    loadVector(in + first, v);
#pragma unroll
    for (int i = 0; i < kVector; ++i) v[i] = first + i < logical ? v[i] - normalizer : 0.0f;
    storeVector(out + first, v);
  }
}

void logSoftmax(const KernelContext& c) {
  const TensorView &x = c.inputs[0], &y = c.outputs[0];
  requireTypes("log_softmax", DType::F32, {&y});
  requireVectors("log_softmax", x.columns);
  dispatchActivationType(x.dtype, "log_softmax", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    logSoftmaxKernel<T><<<static_cast<unsigned>(x.rows), kThreads, 0, cudaStream(c)>>>(
        static_cast<const T*>(x.data), y.f32(), static_cast<int32_t>(x.columns),
        static_cast<int32_t>(x.logicalColumns));
  });
  cudaCheckLaunch("log_softmax");
}

}  // namespace

void register_log_softmax_cuda(KernelRegistry& registry) { registry.add("log_softmax", logSoftmax); }

}  // namespace tesserae
