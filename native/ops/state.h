// The small values of a model's State, by name: kernels, compiler and host all read and write them through
// these structs. Plain data, as kernels need it (see kernel.h).
#pragma once

#include <array>
#include <cstdint>

namespace tesserae {

// Elements of a flat buffer (parameters, gradients, moments) that share ChunkSettings; each parameter starts
// a chunk.
inline constexpr int64_t kChunkElements = 1024;

// What the optimizer knows of a chunk's parameter. State has one for each chunk.
struct ChunkSettings {
  float weightDecay;
  float rateScale;  // what the learning rate is multiplied by; 0: the parameter is not trained
};

// What random numbers and schedules are indexed by.
struct Counters {
  int64_t attempted;  // optimizer steps tried: random numbers, data cursor
  int64_t applied;    // optimizer steps taken: Adam's t, the schedule
  int64_t
      firstSample;  // index in the optimizer step of this micro-step's first row, over micro-steps and ranks
  int64_t seed;     // of the model's random numbers

  // The fields that checkpoints hold: visit(name, field) for each.
  template <class Self, class Visit>
  static void visitSaved(Self& self, Visit&& visit) {
    visit("attempted", self.attempted);
    visit("applied", self.applied);
  }
};

// The losses that a Graph may have.
inline constexpr int kMostLosses = 4;

// What the micro-batches of a step add up to.
struct LossSum {
  double sum;           // of the losses of the targets that count, in nats
  double validTargets;  // how many those are
};

// What gradient_norm finds.
struct GradientNorm {
  float norm;          // of the mean gradient, before clipping
  float multiplier;    // of the gradients in memory: makes them the mean gradient, clipped
  float applies;       // 1: the step is taken; 0: it changes nothing but counters and scaler
  float learningRate;  // of this step
};

// Dynamic loss scaling; without it the scale is 1.
struct LossScaler {
  double scale;         // what the loss is multiplied by
  double cleanSteps;    // steps with a finite gradient since the scale last changed
  double skippedInRow;  // steps without one since the last that had one

  template <class Self, class Visit>
  static void visitSaved(Self& self, Visit&& visit) {
    visit("scale", self.scale);
    visit("cleanSteps", self.cleanSteps);
    visit("skippedInRow", self.skippedInRow);
  }
};

// What the sum of each loss is divided by for the gradient.
using LossDivisors = std::array<double, kMostLosses>;

// All of them, in their order at the start of the State arena, each on a cache line of its own. The host
// reads them after each step.
struct StepState {
  alignas(64) Counters counters;
  alignas(64) std::array<LossSum, kMostLosses> losses;
  // The gradient that the loss of each valid target starts with: loss scale ÷ divisor.
  alignas(64) std::array<float, kMostLosses> lossGradients;
  alignas(64) GradientNorm norm;
  alignas(64) LossScaler scaler;
  alignas(64) LossDivisors lossDivisors;  // of the step: see engine/loss_divisors.h

  // What JavaScript reads of a step: visit(name, value) for each. StepResult in lib/native_training.ts is
  // its type.
  template <class Visit>
  void visitMetrics(Visit&& visit) const {
    visit("lossSum", losses[0].sum);
    visit("validTargets", losses[0].validTargets);
    visit("gradNorm", norm.norm);
    visit("learningRate", norm.learningRate);
    visit("applied", norm.applies != 0);
    visit("attemptedSteps", counters.attempted);
    visit("appliedSteps", counters.applied);
    visit("lossScale", scaler.scale);
    visit("skippedInRow", scaler.skippedInRow);
    visit("losses", losses);
  }
};

}  // namespace tesserae
