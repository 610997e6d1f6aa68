// The exponential moving average of the parameters (Polyak & Juditsky 1992 in the form of Tarvainen & Valpola
// 2017, equation 1): ema = decay · ema + (1 − decay) · parameters, in steps that were applied.
#include "ops/registry.h"
#include "ops/state_values.h"

namespace tesserae {

namespace {

void inferEma(InferContext& c) {
  enum { kParameters, kNorm, kEma };
  const TensorSpec &parameters = c.input(kParameters), &ema = c.input(kEma);
  c.require(ema.physicalElements() == parameters.physicalElements() && ema.dtype == DType::F32 &&
                parameters.dtype == DType::F32,
            "parameters and ema must be flat float32 of the same size");
  requireState(c, kNorm, "norm");
  const double decay = c.attributes().number("decay");
  c.require(decay > 0 && decay < 1, "decay must be greater than 0 and less than 1");
  c.output(0, ema);
}

Cost emaCost(const CallShape& c) { return {.vectorFlops = 3.0 * c.inputs[0]->physicalElements()}; }

}  // namespace

void register_ema(OperationRegistry& registry) {
  registry.add({.name = "ema",
                .inputs = {"parameters*", "norm*", "ema*"},
                .outputs = {"ema*"},
                .infer = inferEma,
                .cost = emaCost});
}

}  // namespace tesserae
