// defines: ScalerRule, followingScaler
#pragma once

#include "ops/kernel.h"

namespace tesserae {

struct ScalerRule {
  double growthFactor, backoffFactor;
  int64_t growthInterval;
};

// The scaler after a step with this `norm` (see gradient_norm). A step that was not taken for another reason
// than its gradient leaves it alone. A scale that growing would make infinite in fp32 stays, as in PyTorch.
TESSERAE_BOTH static void followingScaler(const ScalerRule& rule, const float* norm, double* scaler) {
  constexpr double kLargest = 3.4028234663852886e38;
  enum { kNorm, kMultiplier, kApply };
  const bool finite = norm[kNorm] - norm[kNorm] == 0;
  if (!finite) {
    scaler[kScale] *= rule.backoffFactor;
    scaler[kCleanSteps] = 0;
    scaler[kSkippedInRow] += 1;
    return;
  }
  if (norm[kApply] == 0) return;
  scaler[kSkippedInRow] = 0;
  scaler[kCleanSteps] += 1;
  if (scaler[kCleanSteps] < static_cast<double>(rule.growthInterval)) return;
  scaler[kCleanSteps] = 0;
  const double grown = scaler[kScale] * rule.growthFactor;
  if (grown <= kLargest) scaler[kScale] = grown;
}

}  // namespace tesserae
