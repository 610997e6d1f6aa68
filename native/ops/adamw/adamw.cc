// Adam with decoupled weight decay (Loshchilov & Hutter 2019, "Decoupled weight decay regularization",
// algorithm 2).
#include "ops/kernel.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int64_t kChunk = 1024;

void inferAdamw(InferContext& c) {
  enum { kParameters, kGradients, kMoment1, kMoment2, kChunks, kNorm, kCounterVector };
  const TensorSpec& parameters = c.input(kParameters);
  const int64_t elements = parameters.physicalElements(), chunks = (elements + kChunk - 1) / kChunk;
  for (int flat : {kParameters, kGradients, kMoment1, kMoment2}) {
    c.require(c.input(flat).axes.size() == 1 && c.input(flat).physicalElements() == elements &&
                  c.input(flat).dtype == DType::F32,
              "parameters, gradients and moments must be flat float32 of the same size");
  }
  c.require(c.input(kChunks).physicalElements() == 2 * chunks,
            "chunks must have two values for each of " + std::to_string(chunks) + " chunks");
  c.require(c.input(kNorm).physicalElements() == 4, "norm must be what gradient_norm gives");
  c.require(c.input(kCounterVector).physicalElements() == kCounters, "counters must be four int64");
  const double beta1 = c.attributes().number("beta1"), beta2 = c.attributes().number("beta2");
  c.require(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1,
            "beta1 and beta2 must be at least 0 and less than 1");
  c.require(c.attributes().number("epsilon") > 0,
            "epsilon must be greater than 0: padding lanes would divide 0 by 0");
  c.output(0, parameters);
  c.output(1, c.input(kMoment1));
  c.output(2, c.input(kMoment2));
  if (c.activationType() != DType::F32) c.output(3, {parameters.axes, c.activationType()});
}

Cost adamwCost(const CallShape& c) { return {.vectorFlops = 14.0 * c.inputs[0]->physicalElements()}; }

}  // namespace

void register_adamw(OperationRegistry& registry) {
  // Where the precision has a 16-bit copy of the parameters, the update writes it too.
  registry.add(
      {.name = "adamw",
       .inputs = {"parameters*", "gradients*", "moment1*", "moment2*", "chunks*", "norm*", "counters*"},
       .outputs = {"parameters*", "moment1*", "moment2*", "halfCopy?*"},
       .infer = inferAdamw,
       .cost = adamwCost});
}

}  // namespace tesserae
