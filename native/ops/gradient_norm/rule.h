// What follows from the sum of the gradients' squares: the same on the CPU and on a GPU.
#pragma once

#include <math.h>

#include "ops/kernel.h"
#include "ops/state.h"

namespace tesserae {

namespace {  // cpu.cc is compiled for several instruction sets

// The gradients in memory are of the sum of the losses times `seed`, so 1 / (seed * valid) makes them the
// gradient of the mean loss. Clipping is PyTorch's clip_grad_norm_.
TESSERAE_BOTH GradientNorm normOf(double squares, const LossSum& loss, double seed, double maxGradNorm,
                                  float learningRate) {
  const double valid = loss.validTargets;
  const double base = valid > 0 ? 1 / (seed * valid) : 0;
  const double norm = sqrt(squares) * base;
  const double clip = maxGradNorm > 0 && maxGradNorm < norm + 1e-6 ? maxGradNorm / (norm + 1e-6) : 1;
  GradientNorm result;
  result.norm = static_cast<float>(norm);
  result.multiplier = static_cast<float>(base * clip);
  const bool applies = __builtin_isfinite(result.norm) && __builtin_isfinite(loss.sum) && valid > 0;
  result.applies = applies ? 1.0f : 0.0f;
  result.learningRate = learningRate;
  return result;
}

}  // namespace

}  // namespace tesserae
