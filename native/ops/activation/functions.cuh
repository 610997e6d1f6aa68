// defines: cudaActivate, cudaActivationSlope, dispatchActivationFunction
// The functions of functions.h on the device, in fp32. For cuda.cu files only.
#pragma once

#include <type_traits>

#include "ops/activation/functions.h"

namespace tesserae {

// sigmoid(x) and its derivative, the latter without the cancellation in 1 - sigmoid(x). e^-x is kept finite.
__device__ __forceinline__ float cudaSigmoid(float x, float* slope) {
  const float e = expf(x < -88.0f ? 88.0f : -x), s = 1.0f / (1.0f + e);
  *slope = (e * s) * s;
  return s;
}

// 2u with 0.5 (1 + tanh(u)) = sigmoid(2u) in gelu_new, and its derivative. Beyond |x| = 20 the sigmoid is 0
// or 1; NaN stays NaN.
__device__ __forceinline__ float cudaGeluNewArgument(float x, float* slope) {
  const float k = 2.0f * 0.797884561f;  // 2 √(2/π)
  const float b = x < -20.0f ? -20.0f : (x > 20.0f ? 20.0f : x);
  *slope = k * (1.0f + 3.0f * 0.044715f * b * b);
  return k * b * (1.0f + 0.044715f * b * b);
}

// Φ(x), the normal distribution function: by erfc, exact in the tail too.
__device__ __forceinline__ float cudaNormalCdf(float x) { return 0.5f * erfcf(-0.707106781f * x); }

// f(x)
template <ActivationFunction F>
__device__ __forceinline__ float cudaActivate(float x) {
  float unused;
  if constexpr (F == ActivationFunction::Gelu) return x * cudaNormalCdf(x);
  if constexpr (F == ActivationFunction::GeluNew)
    return x * cudaSigmoid(cudaGeluNewArgument(x, &unused), &unused);
  if constexpr (F == ActivationFunction::Relu) return x < 0.0f ? 0.0f : x;  // NaN stays NaN
  if constexpr (F == ActivationFunction::Silu) return x * cudaSigmoid(x, &unused);
  if constexpr (F == ActivationFunction::Tanh) return tanhf(x);
  return x;
}

// f'(x)
template <ActivationFunction F>
__device__ __forceinline__ float cudaActivationSlope(float x) {
  if constexpr (F == ActivationFunction::Gelu) {
    return cudaNormalCdf(x) + x * expf(-0.5f * x * x) * 0.398942280f;  // 1 / √(2π)
  }
  if constexpr (F == ActivationFunction::GeluNew) {
    float inner, outer;
    const float s = cudaSigmoid(cudaGeluNewArgument(x, &inner), &outer);
    return s + x * outer * inner;
  }
  if constexpr (F == ActivationFunction::Relu) return x > 0.0f ? 1.0f : 0.0f;
  if constexpr (F == ActivationFunction::Silu) {
    float slope;
    const float s = cudaSigmoid(x, &slope);
    return s + x * slope;
  }
  if constexpr (F == ActivationFunction::Tanh) {
    const float t = tanhf(x);
    return 1.0f - t * t;
  }
  return 1.0f;
}

// Calls f with the function as a constant type: decltype(constant)::value. None has one too.
template <class Call>
void dispatchActivationFunction(ActivationFunction function, Call&& call) {
  switch (function) {
    case ActivationFunction::None:
      return call(std::integral_constant<ActivationFunction, ActivationFunction::None>{});
    case ActivationFunction::Gelu:
      return call(std::integral_constant<ActivationFunction, ActivationFunction::Gelu>{});
    case ActivationFunction::GeluNew:
      return call(std::integral_constant<ActivationFunction, ActivationFunction::GeluNew>{});
    case ActivationFunction::Relu:
      return call(std::integral_constant<ActivationFunction, ActivationFunction::Relu>{});
    case ActivationFunction::Silu:
      return call(std::integral_constant<ActivationFunction, ActivationFunction::Silu>{});
    case ActivationFunction::Tanh:
      return call(std::integral_constant<ActivationFunction, ActivationFunction::Tanh>{});
  }
}

}  // namespace tesserae
