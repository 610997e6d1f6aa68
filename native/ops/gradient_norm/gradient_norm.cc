// The norm of the mean gradient and what follows from it: the multiplier that averages and clips, whether the
// step is taken, its learning rate.
#include "ops/kernel.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int64_t kChunk = 1024;

void inferGradientNorm(InferContext& c) {
  enum { kGradients, kLoss, kSeedScale, kLearningRates, kCounterVector };
  c.require(c.input(kGradients).axes.size() == 1,
            "gradients must be flat, not " + c.input(kGradients).describe());
  c.require(c.input(kLoss).physicalElements() == 2 && c.input(kLoss).dtype == DType::F64,
            "loss must be two float64, not " + c.input(kLoss).describe());
  c.require(c.input(kSeedScale).physicalElements() == 1, "seed must be one float32");
  c.require(c.input(kLearningRates).physicalElements() >= 1, "there must be a learning rate");
  c.require(c.input(kCounterVector).physicalElements() == kCounters, "counters must be four int64");
  c.output(0, {{countAxis("norm", 4)}, DType::F32});
}

Cost gradientNormCost(const CallShape& c) { return {.vectorFlops = 2.0 * c.inputs[0]->physicalElements()}; }

// A partial sum in fp64 for each chunk.
int64_t gradientNormWorkspace(const CallShape& c, const Target&, const KernelChoice&) {
  const int64_t chunks = (c.inputs[0]->physicalElements() + kChunk - 1) / kChunk;
  return chunks * static_cast<int64_t>(sizeof(double));
}

}  // namespace

void register_gradient_norm(OperationRegistry& registry) {
  registry.add({.name = "gradient_norm",
                .inputs = {"gradients*", "loss*", "seed*", "learningRates*", "counters*"},
                .outputs = {"norm*"},
                .infer = inferGradientNorm,
                .cost = gradientNormCost,
                .workspace = gradientNormWorkspace});
}

}  // namespace tesserae
