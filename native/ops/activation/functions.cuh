// The functions of functions.h on the device, in fp32. For cuda.cu files only.
#pragma once

#include <type_traits>

#include "ops/activation/dispatch.h"
#include "ops/cuda_support.cuh"

namespace tesserae {

// sigmoid(x) and its derivative, the latter without the cancellation in 1 - sigmoid(x). e^-x is kept finite,
// and so that 1 + e^-x has a reciprocal.
__device__ __forceinline__ float cudaSigmoid(float x, float* slope) {
  const float e = exponential(-clampKeepingNaN(x, -87.0f, 87.0f)), s = reciprocal(1.0f + e);
  *slope = (e * s) * s;
  return s;
}

// gelu_new is x s with s = 0.5 (1 + tanh(u)) = 1 / (1 + e), e = e^-2u. Beyond |x| = 10 s is 0 or 1, and e is
// kept finite; NaN stays NaN.
struct CudaGeluNew {
  float b, square, e, s;
  __device__ __forceinline__ explicit CudaGeluNew(float x) {
    const float k = -2.0f * 0.797884561f * 1.44269504f;  // -2 √(2/π) log2(e)
    b = clampKeepingNaN(x, -10.0f, 10.0f);
    square = b * b;
    e = exponential2(b * fmaf(k * 0.044715f, square, k));
    s = reciprocal(1.0f + e);
  }
  // x ds/dx
  __device__ __forceinline__ float xSlope(float x) const {
    const float k = 2.0f * 0.797884561f;
    return x * fmaf(k * 3.0f * 0.044715f, square, k) * ((e * s) * s);
  }
};

// tanh(x) by one instruction, with a relative error of 2^-11.
__device__ __forceinline__ float roughTanh(float x) {
  float t;
  asm("tanh.approx.f32 %0, %1;" : "=f"(t) : "f"(x));
  return t;
}

// gelu_new = 0.5 x (1 + tanh(u)), u = √(2/π) (x + 0.044715 x³). Its slope has a term 1 - tanh²(u), for which
// this tanh is too rough.
__device__ __forceinline__ float roughGeluNew(float x) {
  const float k = 0.797884561f, half = 0.5f * x;
  return fmaf(half, roughTanh(x * fmaf(k * 0.044715f, x * x, k)), half);
}

// Φ(x), the normal distribution function, and its derivative. Φ(-|x|) = e^(-x²/2) g(t) / (|x| + c) with
// t = 1 - 2c / (|x| + c) and c = 3 √2: the polynomial g was fitted to √½ erfcx(|x| / √2) (|x| / √2 + 3) for
// |x| up to 13 with a relative error of 1.3e-7, so that the tail is exact too. erfcf takes three times as
// long.
__device__ __forceinline__ float cudaNormalCdf(float x, float* slope) {
  const float c = 4.24264069f, r = reciprocal(fabsf(x) + c), t = fmaf(-2.0f * c, r, 1.0f);
  float g = 0.00207154988f;
  g = fmaf(g, t, -0.00115548295f);
  g = fmaf(g, t, -0.0189807042f);
  g = fmaf(g, t, 0.084597744f);
  g = fmaf(g, t, -0.219529167f);
  g = fmaf(g, t, 0.417347461f);
  g = fmaf(g, t, -0.624654353f);
  g = fmaf(g, t, 0.75943768f);
  const float e = exponential(-0.5f * x * x), tail = g * r * e;
  *slope = e * 0.398942280f;  // 1 / √(2π)
  return x < 0.0f ? tail : 1.0f - tail;
}

// f(x)
template <ActivationFunction F>
__device__ __forceinline__ float cudaActivate(float x) {
  float unused;
  if constexpr (F == ActivationFunction::Gelu) return x * cudaNormalCdf(x, &unused);
  if constexpr (F == ActivationFunction::GeluNew) return x * CudaGeluNew(x).s;
  if constexpr (F == ActivationFunction::Relu) return x < 0.0f ? 0.0f : x;  // NaN stays NaN
  if constexpr (F == ActivationFunction::Silu) return x * cudaSigmoid(x, &unused);
  if constexpr (F == ActivationFunction::Tanh) return tanhf(x);
  return x;
}

// f'(x)
template <ActivationFunction F>
__device__ __forceinline__ float cudaActivationSlope(float x) {
  if constexpr (F == ActivationFunction::Gelu) {
    float density;
    const float below = cudaNormalCdf(x, &density);
    return below + x * density;
  }
  if constexpr (F == ActivationFunction::GeluNew) {
    const CudaGeluNew gelu(x);
    return gelu.s + gelu.xSlope(x);
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

// f(x) in the epilogue of a product that is stored in T. In bf16, whose rounding has a relative error of up
// to 2^-9, the tanh of gelu_new may be rough: its exact form takes longer than the product.
template <ActivationFunction F, class T>
__device__ __forceinline__ float activateFor(float x) {
  constexpr bool kRough = F == ActivationFunction::GeluNew && std::is_same_v<T, __nv_bfloat16>;
  return kRough ? roughGeluNew(x) : cudaActivate<F>(x);
}

}  // namespace tesserae
