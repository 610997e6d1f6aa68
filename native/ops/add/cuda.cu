#include "ops/cuda_support.cuh"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;

// A vector of eight elements a thread; the last one takes what is left one by one. y may be a or b.
template <class T>
__global__ void __launch_bounds__(kThreads) addKernel(const T* a, const T* b, T* y, int64_t elements) {
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kVector;
  if (first + kVector <= elements) {
    float v[kVector], w[kVector];
    loadVector(a + first, v);
    loadVector(b + first, w);
#pragma unroll
    for (int i = 0; i < kVector; ++i) v[i] += w[i];
    storeVector(y + first, v);
  } else {
    for (int64_t i = first; i < elements; ++i) y[i] = fromFloat<T>(toFloat(a[i]) + toFloat(b[i]));
  }
}

void add(const KernelContext& c) {
  const TensorView &a = c.inputs[0], &b = c.inputs[1], &y = c.outputs[0];
  requireTypes("add", a.dtype, {&b, &y});
  const unsigned blocks = static_cast<unsigned>(divideUp(y.elements, kThreads * kVector));
  dispatchActivationType(a.dtype, "add", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    addKernel<T><<<blocks, kThreads, 0, cudaStream(c)>>>(
        static_cast<const T*>(a.data), static_cast<const T*>(b.data), static_cast<T*>(y.data), y.elements);
  });
  cudaCheckLaunch("add");
}

}  // namespace

void register_add_cuda(KernelRegistry& registry) { registry.add("add", add); }

}  // namespace tesserae
