// The rule of dynamic loss scaling: the same on the CPU and on a GPU.
#pragma once

#include "ops/kernel.h"
#include "ops/state.h"

namespace tesserae {

struct ScalerRule {
  double growthFactor, backoffFactor;
  int64_t growthInterval;
};

// Updates the scaler after a step with this norm. A step skipped for another reason than its gradient does
// not change it. A scale does not grow if that would make it infinite in fp32, as in PyTorch.
TESSERAE_BOTH static void followScaler(const ScalerRule& rule, const GradientNorm& norm, LossScaler& scaler) {
  constexpr double kLargest = 3.4028234663852886e38;
  const bool finite = norm.norm - norm.norm == 0;
  if (!finite) {
    scaler.scale *= rule.backoffFactor;
    scaler.cleanSteps = 0;
    scaler.skippedInRow += 1;
    return;
  }
  if (norm.applies == 0) return;
  scaler.skippedInRow = 0;
  scaler.cleanSteps += 1;
  if (scaler.cleanSteps < static_cast<double>(rule.growthInterval)) return;
  scaler.cleanSteps = 0;
  const double grown = scaler.scale * rule.growthFactor;
  if (grown <= kLargest) scaler.scale = grown;
}

}  // namespace tesserae
