// The norm of the mean gradient and what follows from it: the multiplier that averages and clips, whether the
// step is taken, its learning rate.
#include "ops/registry.h"
#include "ops/state.h"
#include "ops/state_values.h"

namespace tesserae {

namespace {

void inferGradientNorm(InferContext& c) {
  enum { kGradients, kLosses, kLossGradient, kLearningRates, kCounters, kScaler };
  c.require(c.input(kGradients).axes.size() == 1,
            "gradients must be flat, not " + c.input(kGradients).describe());
  requireState(c, kLosses, "losses");
  requireState(c, kLossGradient, "lossGradient");
  c.require(c.input(kLearningRates).physicalElements() >= 1, "there must be a learning rate");
  requireState(c, kCounters, "counters");
  requireState(c, kScaler, "scaler");
  c.output(0, stateSpec("norm"));
}

Cost gradientNormCost(const CallShape& c) { return {.vectorFlops = 2.0 * c.inputs[0]->physicalElements()}; }

// A partial sum in fp64 for each chunk.
int64_t gradientNormWorkspace(const CallShape& c, const Target&, const KernelChoice&) {
  const int64_t chunks = (c.inputs[0]->physicalElements() + kChunkElements - 1) / kChunkElements;
  return chunks * static_cast<int64_t>(sizeof(double));
}

}  // namespace

void register_gradient_norm(OperationRegistry& registry) {
  registry.add(
      {.name = "gradient_norm",
       .inputs = {"gradients*", "losses*", "lossGradient*", "learningRates*", "counters*", "scaler*"},
       .outputs = {"norm*"},
       .infer = inferGradientNorm,
       .cost = gradientNormCost,
       .workspace = gradientNormWorkspace});
}

}  // namespace tesserae
