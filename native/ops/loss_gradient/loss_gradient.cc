// What the backward pass of a loss starts with.
#include "ops/registry.h"
#include "ops/state_values.h"

namespace tesserae {

namespace {

// gradient = loss scale / divisor: what every valid target's gradient is multiplied by.
void inferLossGradient(InferContext& c) {
  enum { kScaler, kDivisor };
  requireState(c, kScaler, "scaler");
  requireState(c, kDivisor, "lossDivisor");
  c.output(0, stateSpec("lossGradient"));
}

}  // namespace

void register_loss_gradient(OperationRegistry& registry) {
  registry.add({.name = "loss_gradient",
                .inputs = {"scaler*", "lossDivisor*"},
                .outputs = {"lossGradient*"},
                .infer = inferLossGradient});
}

}  // namespace tesserae
