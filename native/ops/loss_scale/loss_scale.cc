// Dynamic loss scaling (Micikevicius et al. 2018, "Mixed precision training", section 3.2) by the rule of
// PyTorch's GradScaler: a step whose gradient is not finite is skipped and shrinks the scale, a number of
// steps in a row without one grow it.
#include "ops/registry.h"
#include "ops/state_values.h"

namespace tesserae {

namespace {

void inferLossScale(InferContext& c) {
  enum { kScaler, kNorm };
  requireState(c, kScaler, "scaler");
  requireState(c, kNorm, "norm");
  const double growth = c.attributes().number("growthFactor"),
               backoff = c.attributes().number("backoffFactor");
  c.require(growth >= 1, "growthFactor must be at least 1");
  c.require(backoff > 0 && backoff < 1, "backoffFactor must be greater than 0 and less than 1");
  c.require(c.attributes().integer("growthInterval", 0) >= 1, "growthInterval must be at least 1");
  c.output(0, stateSpec("scaler"));
}

}  // namespace

void register_loss_scale(OperationRegistry& registry) {
  registry.add({.name = "loss_scale",
                .inputs = {"scaler*", "norm*"},
                .outputs = {"scaler*"},
                .infer = inferLossScale});
}

}  // namespace tesserae
