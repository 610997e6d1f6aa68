// What follows from the sum of the gradients' squares: the same on the CPU and on a GPU.
#pragma once

#include <math.h>

#include "ops/kernel.h"
#include "ops/state.h"

namespace tesserae {

namespace {  // cpu.cc is compiled for several instruction sets

// The sums and valid targets of a Graph's losses, and by what the gradients in memory become the mean
// gradient.
struct LossTotal {
  double sum = 0, valid = 0, multiplier = 0;
};

// One loss: the gradients are of its sum times `lossGradient`. Several: of the weighted sum of their means,
// times the loss scale.
TESSERAE_BOTH LossTotal totalOf(const LossSum* losses, int64_t count, double lossGradient,
                                const LossScaler& scaler) {
  LossTotal total;
  for (int64_t i = 0; i < count; ++i) {
    total.sum += losses[i].sum;
    total.valid += losses[i].validTargets;
  }
  if (total.valid > 0) total.multiplier = count == 1 ? 1 / (lossGradient * total.valid) : 1 / scaler.scale;
  return total;
}

// Clipping is PyTorch's clip_grad_norm_.
TESSERAE_BOTH GradientNorm normOf(double squares, const LossTotal& loss, double maxGradNorm,
                                  float learningRate) {
  const double base = loss.multiplier;
  const double norm = sqrt(squares) * base;
  const double clip = maxGradNorm > 0 && maxGradNorm < norm + 1e-6 ? maxGradNorm / (norm + 1e-6) : 1;
  GradientNorm result;
  result.norm = static_cast<float>(norm);
  result.multiplier = static_cast<float>(base * clip);
  const bool applies = __builtin_isfinite(result.norm) && __builtin_isfinite(loss.sum) && loss.valid > 0;
  result.applies = applies ? 1.0f : 0.0f;
  result.learningRate = learningRate;
  return result;
}

}  // namespace

}  // namespace tesserae
