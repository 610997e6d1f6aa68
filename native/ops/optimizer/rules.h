// The arithmetic of the optimizers, an element
// at a time: the same on the CPU and on a GPU. A rule is made once a step, entered once a chunk, and called
// for each element.
#pragma once

#include <math.h>

#include "ops/attributes.h"
#include "ops/kernel.h"
#include "ops/schedule.h"
#include "ops/state.h"

namespace tesserae {

namespace {  // cpu.cc is compiled for several instruction sets

// Slots of every optimizer's contract. One without momentum has no moment1, and only Adam's have a moment2.
enum UpdateInput { kParameters, kGradients, kChunks, kNorm, kCounters, kMomenta, kMoments };
enum UpdateOutput { kUpdated, kHalfCopy, kMoment1, kMoment2 };

// What a step reads from State.
struct UpdateStep {
  bool applies;
  float multiplier;  // of the gradient: averages and clips
  double rate;       // learning rate
  double t;          // number of this step among those applied, from 1
  double momentum;   // or beta 1: from the schedule, which may cycle it, or the setting
};

TESSERAE_BOTH UpdateStep updateStep(const GradientNorm& norm, const Counters& counters, const float* momenta,
                                    int64_t steps, double setting) {
  const int64_t applied = counters.applied;
  const double momentum = momenta ? scheduled(momenta, steps, applied) : setting;
  return {norm.applies != 0, norm.multiplier, norm.learningRate, static_cast<double>(applied + 1), momentum};
}

// What RAdam does in the steps in which the variance of its adaptive rate is not known yet.
enum class FirstSteps : int {
  Torch,      // lr · m̂, as torch.optim.RAdam, which counts ρ = 5 among them
  Momentum,   // the same, where ρ = 5 is not among them
  DecayOnly,  // nothing but weight decay
  None,       // nothing
};

struct AdamSettings {
  double beta1, beta2;
  float epsilon;
  bool decoupled;  // weight decay shrinks the parameter, else it is added to the gradient
  bool rectified;  // RAdam
  FirstSteps first;
  TESSERAE_BOTH double momentum() const { return beta1; }
};

// g = gradient · multiplier + decay · p;  m = m + (g − m) · (1 − β1);  v = v · β2 + (1 − β2) · g²
// p = p · shrink − step · m / divisor
// Adam, AdamW: divisor = √v / √(1 − β2^t) + ε, step = lr / (1 − β1^t): the order of torch.optim.
// RAdam: divisor = √v + ε, step = lr · r · √(1 − β2^t) / (1 − β1^t) with the rectifier r, once ρ is large
// enough (Liu et al. 2020, algorithm 2); until then divisor = 1.
struct AdamRule {
  using Settings = AdamSettings;
  static constexpr int kStates = 2;
  double rate, stepOfRate;
  float multiplier, towards1, keep2, towards2, correction2, epsilon;
  bool decoupled, decays, adaptive;
  float shrink, decay, step;  // of the chunk

  TESSERAE_BOTH static AdamRule of(const AdamSettings& s, const UpdateStep& now) {
    AdamRule rule;
    const double beta1 = now.momentum, power2 = pow(s.beta2, now.t);
    rule.rate = now.rate;
    rule.stepOfRate = 1 / (1 - pow(beta1, now.t));
    rule.multiplier = now.multiplier;
    rule.towards1 = static_cast<float>(1 - beta1);
    rule.keep2 = static_cast<float>(s.beta2);
    rule.towards2 = static_cast<float>(1 - s.beta2);
    rule.correction2 = static_cast<float>(sqrt(1 - power2));
    rule.epsilon = s.epsilon;
    rule.decoupled = s.decoupled;
    rule.decays = rule.adaptive = true;
    if (s.rectified) rule.rectify(s, now.t, power2);
    return rule;
  }

  TESSERAE_BOTH void rectify(const AdamSettings& s, double t, double power2) {
    const double longest = 2 / (1 - s.beta2) - 1, rho = longest - 2 * t * power2 / (1 - power2);
    correction2 = 1;
    adaptive = s.first == FirstSteps::Torch ? rho > 5 : rho >= 5;
    if (adaptive) {
      stepOfRate *=
          sqrt((1 - power2) * ((rho - 4) * (rho - 2) * longest) / ((longest - 4) * (longest - 2) * rho));
      return;
    }
    decays = s.first != FirstSteps::None;
    if (s.first == FirstSteps::DecayOnly || s.first == FirstSteps::None) stepOfRate = 0;
  }

  TESSERAE_BOTH void enter(double weightDecay, double rateScale) {
    const double scaled = rate * rateScale;
    shrink = decoupled && decays ? static_cast<float>(1 - scaled * weightDecay) : 1.0f;
    decay = decoupled ? 0.0f : static_cast<float>(weightDecay);
    step = static_cast<float>(scaled * stepOfRate);
  }

  TESSERAE_BOTH void operator()(float gradient, float& p, float& m, float& v) const {
    const float g = gradient * multiplier + decay * p;
    m = m + (g - m) * towards1;
    v = v * keep2 + g * g * towards2;
    const float divisor = adaptive ? sqrtf(v) / correction2 + epsilon : 1.0f;
    p = p * shrink - step * m / divisor;
  }
};

struct SgdSettings {
  double beta;  // 0: no momentum
  bool nesterov;
  TESSERAE_BOTH double momentum() const { return beta; }
};

// g = gradient · multiplier + decay · p;  m = momentum · m + g
// p = p − lr · m, with Nesterov p − lr · (g + momentum · m), without momentum p − lr · g: torch.optim.SGD
// without dampening.
template <int Moments>
struct SgdRule {
  using Settings = SgdSettings;
  static constexpr int kStates = Moments;
  double rate;
  float multiplier, keep;
  bool nesterov;
  float decay, step;  // of the chunk

  TESSERAE_BOTH static SgdRule of(const SgdSettings& s, const UpdateStep& now) {
    SgdRule rule;
    rule.rate = now.rate;
    rule.multiplier = now.multiplier;
    rule.keep = static_cast<float>(now.momentum);
    rule.nesterov = s.nesterov;
    return rule;
  }

  TESSERAE_BOTH void enter(double weightDecay, double rateScale) {
    decay = static_cast<float>(weightDecay);
    step = static_cast<float>(rate * rateScale);
  }

  TESSERAE_BOTH void operator()(float gradient, float& p, float& m, float&) const {
    const float g = gradient * multiplier + decay * p;
    float direction = g;
    if constexpr (Moments == 1) {
      m = keep * m + g;
      direction = nesterov ? g + keep * m : m;
    }
    p = p - step * direction;
  }
};

inline AdamSettings adamSettings(const Attributes& a, bool decoupled) {
  const double beta1 = a.number("beta1"), beta2 = a.number("beta2");
  return {beta1, beta2, static_cast<float>(a.number("epsilon")), decoupled, false, FirstSteps::Torch};
}

inline AdamSettings radamSettings(const Attributes& a) {
  AdamSettings settings = adamSettings(a, a.flag("decoupledWeightDecay"));
  settings.rectified = true;
  settings.first = static_cast<FirstSteps>(a.integer("firstSteps", 0));
  return settings;
}

inline SgdSettings sgdSettings(const Attributes& a) { return {a.number("momentum"), a.flag("nesterov")}; }

}  // namespace

}  // namespace tesserae
