// Dynamic loss scaling (Micikevicius et al. 2018, "Mixed precision training", section 3.2) by the rule of
// PyTorch's GradScaler: a step whose gradient is not finite is skipped and shrinks the scale, a number of
// steps in a row without one grow it. `scaler` = {scale, clean steps since it last changed, skipped steps in
// a row}.
#include "ops/kernel.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

void requireScaler(InferContext& c, int input) {
  c.require(c.input(input).physicalElements() == kScaler && c.input(input).dtype == DType::F64,
            "scaler must be three float64, not " + c.input(input).describe());
}

// seed = scale / positions of the optimizer step: what every valid target's gradient is multiplied by.
void inferLossSeed(InferContext& c) {
  enum { kScalerVector, kPositions };
  requireScaler(c, kScalerVector);
  c.require(c.input(kPositions).physicalElements() == 1 && c.input(kPositions).dtype == DType::F64,
            "positions must be one float64, not " + c.input(kPositions).describe());
  c.output(0, {{countAxis("seed", 1)}, DType::F32});
}

void inferLossScale(InferContext& c) {
  enum { kScalerVector, kNorm };
  requireScaler(c, kScalerVector);
  c.require(c.input(kNorm).physicalElements() == 4, "norm must be what gradient_norm gives");
  const double growth = c.attributes().number("growthFactor"),
               backoff = c.attributes().number("backoffFactor");
  c.require(growth >= 1, "growthFactor must be at least 1");
  c.require(backoff > 0 && backoff < 1, "backoffFactor must be greater than 0 and less than 1");
  c.require(c.attributes().integer("growthInterval", 0) >= 1, "growthInterval must be at least 1");
  c.output(0, c.input(kScalerVector));
}

}  // namespace

void register_loss_scale(OperationRegistry& registry) {
  registry.add({.name = "loss_seed",
                .inputs = {"scaler*", "positions*"},
                .outputs = {"seed*"},
                .infer = inferLossSeed});
  registry.add({.name = "loss_scale",
                .inputs = {"scaler*", "norm*"},
                .outputs = {"scaler*"},
                .infer = inferLossScale});
}

}  // namespace tesserae
