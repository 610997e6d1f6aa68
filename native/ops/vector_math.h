// Elementary functions of fp32 without branches or calls, so that GCC vectorises the `#pragma omp simd` loops
// around them. For cpu.cc files only. Polynomials are minimax fits (Lawson's iteration) in fp64, rounded to
// fp32.
#pragma once

#include <cstdint>

#include "ops/activation/functions.h"

#define TESSERAE_INLINE __attribute__((always_inline)) static inline

namespace tesserae::TESSERAE_ISA {

// r and 2^n with x = n ln 2 + r, |r| ≤ ln 2 / 2; Cody and Waite's two-part reduction. |x| < 88.4.
TESSERAE_INLINE float reduceExp(float x, float* power) {
  const float magic = 12582912.0f;  // 1.5 · 2^23: adding it rounds to an integer in the low bits
  const float shifted = x * 1.44269504f + magic;
  const float n = shifted - magic;
  *power = __builtin_bit_cast(float, (__builtin_bit_cast(uint32_t, shifted) + 127u) << 23);
  return (x - n * 0.693359375f) + n * 2.12194440e-4f;
}

// e^x within 1.5 ulp; 0 below -87.3 (where it would be subnormal), saturating at e^88.3, NaN for NaN.
TESSERAE_INLINE float vectorExp(float x) {
  float power;
  const float r = reduceExp(x < -87.3f ? -87.3f : (x > 88.3f ? 88.3f : x), &power);
  float p = 0.00138146023f;
  p = p * r + 0.00836871564f;
  p = p * r + 0.041668389f;
  p = p * r + 0.166665211f;
  p = p * r + 0.49999994f;
  const float e = ((p * r) * r + r + 1.0f) * power;
  return x < -87.3f ? 0.0f : e;
}

// tanh(x) = e / (e + 2), e = e^2|x| - 1, with the sign of x: exact to a few ulp near 0 too.
TESSERAE_INLINE float vectorTanh(float x) {
  const float size = __builtin_fabsf(x);
  float power;
  const float r = reduceExp(2.0f * (size > 9.1f ? 9.1f : size), &power);
  float p = 0.00138825213f;
  p = p * r + 0.00836651865f;
  p = p * r + 0.0416672006f;
  p = p * r + 0.166665435f;
  p = p * r + 0.49999997f;
  const float e = ((p * r) * r + r) * power + (power - 1.0f);
  return __builtin_copysignf(e / (e + 2.0f), x);
}

TESSERAE_INLINE float vectorSigmoid(float x) { return 1.0f / (1.0f + vectorExp(-x)); }

// sigmoid(x) and its derivative, the latter without the cancellation in 1 - sigmoid(x).
TESSERAE_INLINE float vectorSigmoid(float x, float* slope) {
  const float e = vectorExp(-x), s = 1.0f / (1.0f + e);
  *slope = (e * s) * s;
  return s;
}

// Φ(x), the normal distribution function, and gauss = e^(-x²/2). Φ(-|x|) = e^(-x²/2) t P(t), t = 1 / (1 +
// 0.212 |x|), the form of Abramowitz and Stegun 7.1.26 with more terms: relative accuracy in the tail and one
// exponential for both.
TESSERAE_INLINE float normalCdf(float x, float* gauss) {
  *gauss = vectorExp(-0.5f * x * x);
  const float t = 1.0f / (1.0f + 0.212132034f * __builtin_fabsf(x));
  float p = -0.0643891543f;
  p = p * t + 0.240965351f;
  p = p * t - 0.252350658f;
  p = p * t + 0.269452751f;
  p = p * t - 0.0442011729f;
  p = p * t + 0.106082544f;
  p = p * t + 0.0745406225f;
  p = p * t + 0.0853021815f;
  p = p * t + 0.084597528f;
  const float tail = *gauss * (p * t);
  return x > 0.0f ? 1.0f - tail : tail;
}

// 2u with 0.5 (1 + tanh(u)) = sigmoid(2u) in gelu_new, and its derivative. Beyond |x| = 20 the sigmoid is 0
// or 1.
TESSERAE_INLINE float geluNewArgument(float x, float* slope) {
  const float k = 2.0f * 0.797884561f;  // 2 √(2/π)
  const float b = x < -20.0f ? -20.0f : (x > 20.0f ? 20.0f : x);
  *slope = k * (1.0f + 3.0f * 0.044715f * b * b);
  return k * b * (1.0f + 0.044715f * b * b);
}

// f(x)
template <ActivationFunction F>
TESSERAE_INLINE float activate(float x) {
  float unused;
  if constexpr (F == ActivationFunction::Gelu) return x * normalCdf(x, &unused);
  if constexpr (F == ActivationFunction::GeluNew) return x * vectorSigmoid(geluNewArgument(x, &unused));
  if constexpr (F == ActivationFunction::Relu) return x < 0.0f ? 0.0f : x;  // NaN stays NaN
  if constexpr (F == ActivationFunction::Silu) return x * vectorSigmoid(x);
  if constexpr (F == ActivationFunction::Tanh) return vectorTanh(x);
  return x;
}

// f'(x)
template <ActivationFunction F>
TESSERAE_INLINE float activationSlope(float x) {
  if constexpr (F == ActivationFunction::Gelu) {
    float gauss;
    const float cdf = normalCdf(x, &gauss);
    return cdf + x * gauss * 0.398942280f;  // 1 / √(2π)
  }
  if constexpr (F == ActivationFunction::GeluNew) {
    float inner, outer;
    const float s = vectorSigmoid(geluNewArgument(x, &inner), &outer);
    return s + x * outer * inner;
  }
  if constexpr (F == ActivationFunction::Relu) return x > 0.0f ? 1.0f : 0.0f;
  if constexpr (F == ActivationFunction::Silu) {
    float slope;
    const float s = vectorSigmoid(x, &slope);
    return s + x * slope;
  }
  if constexpr (F == ActivationFunction::Tanh) {
    const float t = vectorTanh(x);
    return 1.0f - t * t;
  }
  return 1.0f;
}

}  // namespace tesserae::TESSERAE_ISA
