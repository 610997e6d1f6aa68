#include "ops/activation/functions.cuh"
#include "ops/attributes.h"
#include "ops/cuda_support.cuh"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;

// A vector of eight elements a thread; the last thread of a length that is no multiple of eight takes them
// one by one. x and y, dy and dx may be the same memory.
template <class T, ActivationFunction F>
__global__ void __launch_bounds__(kThreads) forwardKernel(const T* x, T* y, int64_t elements) {
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kVector;
  if (first + kVector <= elements) {
    float v[kVector];
    loadVector(x + first, v);
#pragma unroll
    for (int i = 0; i < kVector; ++i) v[i] = cudaActivate<F>(v[i]);
    storeVector(y + first, v);
  } else {
    for (int64_t i = first; i < elements; ++i) y[i] = fromFloat<T>(cudaActivate<F>(toFloat(x[i])));
  }
}

template <class T, ActivationFunction F>
__global__ void __launch_bounds__(kThreads) backwardKernel(const T* dy, const T* x, T* dx, int64_t elements) {
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kVector;
  if (first + kVector <= elements) {
    float v[kVector], g[kVector];
    loadVector(x + first, v);
    loadVector(dy + first, g);
#pragma unroll
    for (int i = 0; i < kVector; ++i) g[i] *= cudaActivationSlope<F>(v[i]);
    storeVector(dx + first, g);
  } else {
    for (int64_t i = first; i < elements; ++i)
      dx[i] = fromFloat<T>(toFloat(dy[i]) * cudaActivationSlope<F>(toFloat(x[i])));
  }
}

void activation(const KernelContext& c) {
  const TensorView &x = c.inputs[0], &y = c.outputs[0];
  requireTypes("activation", x.dtype, {&y});
  const unsigned blocks = static_cast<unsigned>(divideUp(y.elements, kThreads * kVector));
  dispatchActivationType(x.dtype, "activation", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    dispatchActivationFunction(parseActivation(c.attributes->text("function")), [&](auto function) {
      forwardKernel<T, decltype(function)::value><<<blocks, kThreads, 0, cudaStream(c)>>>(
          static_cast<const T*>(x.data), static_cast<T*>(y.data), y.elements);
    });
  });
  cudaCheckLaunch("activation");
}

void activationBackward(const KernelContext& c) {
  const TensorView &dy = c.inputs[0], &x = c.inputs[1], &dx = c.outputs[0];
  requireTypes("activation_backward", x.dtype, {&dy, &dx});
  const unsigned blocks = static_cast<unsigned>(divideUp(dx.elements, kThreads * kVector));
  dispatchActivationType(x.dtype, "activation_backward", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    dispatchActivationFunction(parseActivation(c.attributes->text("function")), [&](auto function) {
      backwardKernel<T, decltype(function)::value><<<blocks, kThreads, 0, cudaStream(c)>>>(
          static_cast<const T*>(dy.data), static_cast<const T*>(x.data), static_cast<T*>(dx.data),
          dx.elements);
    });
  });
  cudaCheckLaunch("activation_backward");
}

}  // namespace

void register_activation_cuda(KernelRegistry& registry) {
  registry.add("activation", activation);
  registry.add("activation_backward", activationBackward);
}

}  // namespace tesserae
