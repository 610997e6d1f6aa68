// Cross-entropy of one row, shared by cross_entropy and linear_cross_entropy. For cpu.cc files.
#pragma once

#include "ops/attributes.h"
#include "ops/cross_entropy/plan.h"
#include "ops/kernel.h"
#include "ops/state.h"
#include "ops/vector_math.h"

namespace tesserae::TESSERAE_ISA {

// The settings of the loss over `vocabulary` logical logits in rows of `columns`.
struct SmoothedLoss {
  int64_t vocabulary, columns;
  int64_t ignoreIndex;
  float smoothing;  // ε
};

TESSERAE_INLINE SmoothedLoss smoothedLoss(const Attributes& attributes, int64_t vocabulary, int64_t columns) {
  return {vocabulary, columns, attributes.integer("ignoreIndex", -100),
          static_cast<float>(attributes.number("labelSmoothing", 0))};
}

// What a row adds to the loss, NaN where the target is neither an id nor ignoreIndex; lse = log Σ e^z.
// z may be replaced by e^(z - maximum), whose sum is then given too.
template <bool Replace>
TESSERAE_INLINE double lossRow(const SmoothedLoss& s, float* z, int64_t target, float* lse,
                               float* denominator) {
  float maximum = z[0];
#pragma omp simd reduction(max : maximum)
  for (int64_t j = 0; j < s.vocabulary; ++j) maximum = z[j] > maximum ? z[j] : maximum;
  const bool valid = target >= 0 && target < s.vocabulary;
  const float chosen = valid ? z[target] - maximum : __builtin_nanf("");
  float sum = 0, total = 0;
#pragma omp simd reduction(+ : sum, total)
  for (int64_t j = 0; j < s.vocabulary; ++j) {
    const float shifted = z[j] - maximum, e = vectorExp(shifted);
    total += shifted;
    sum += e;
    if (Replace) z[j] = e;
  }
  const float logSum = __builtin_logf(sum);
  *lse = maximum + logSum;
  *denominator = sum;
  const float mean = total / static_cast<float>(s.vocabulary);
  return (1.0f - s.smoothing) * (logSum - chosen) + (s.smoothing > 0 ? s.smoothing * (logSum - mean) : 0.0f);
}

// loss = [loss +] the sums of the blocks, in order.
TESSERAE_INLINE void sumLosses(const LossSum* partial, int64_t blocks, bool add, LossSum* loss) {
  double total = add ? loss->sum : 0, valid = add ? loss->validTargets : 0;
  for (int64_t block = 0; block < blocks; ++block) {
    total += partial[block].sum;
    valid += partial[block].validTargets;
  }
  *loss = {total, valid};
}

}  // namespace tesserae::TESSERAE_ISA
