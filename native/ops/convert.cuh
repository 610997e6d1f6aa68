// fp32 numbers in the type of the activations.
#pragma once

#include "ops/cuda_support.cuh"

namespace tesserae {

template <class T>
__global__ void __launch_bounds__(256) convertKernel(const float* from, T* to, int64_t elements) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x) * kVector;
  if (i >= elements) return;
  float v[kVector];
  loadVector(from + i, v);
  storeVector(to + i, v);
}

// `elements`: a multiple of kVector.
inline void convertToHalf(cudaStream_t stream, const char* operation, const float* from, void* to, DType type,
                          int64_t elements) {
  dispatchActivationType(type, operation, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    convertKernel<<<static_cast<unsigned>(divideUp(elements / kVector, 256)), 256, 0, stream>>>(
        from, static_cast<T*>(to), elements);
  });
  cudaCheckLaunch(operation);
}

}  // namespace tesserae
