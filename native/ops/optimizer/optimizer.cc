// The optimizers. AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019, "Decoupled weight decay
// regularization", algorithm 2). Adam with L2 decay (Kingma & Ba 2015). RAdam: Adam whose adaptive rate is
// rectified (Liu et al. 2020, "On the variance of the adaptive learning rate and beyond"). SGD with momentum
// and Nesterov's (Sutskever et al. 2013). The formulas are in rules.h.
#include "ops/optimizer/rules.h"
#include "ops/registry.h"
#include "ops/state_values.h"

namespace tesserae {

namespace {

void inferUpdate(InferContext& c, int moments) {
  const TensorSpec& parameters = c.input(kParameters);
  const int64_t elements = parameters.physicalElements(),
                chunks = (elements + kChunkElements - 1) / kChunkElements;
  const auto requireFlat = [&](int flat) {
    c.require(c.input(flat).axes.size() == 1 && c.input(flat).physicalElements() == elements &&
                  c.input(flat).dtype == DType::F32,
              "parameters, gradients and moments must be flat float32 of the same size");
  };
  requireFlat(kParameters);
  requireFlat(kGradients);
  c.require(c.input(kChunks).physicalElements() == 2 * chunks,
            "chunks must have two values for each of " + std::to_string(chunks) + " chunks");
  requireState(c, kNorm, "norm");
  requireState(c, kCounters, "counters");
  if (c.has(kMomenta))
    c.require(c.input(kMomenta).dtype == DType::F32 && c.input(kMomenta).physicalElements() >= 1,
              "momenta must be a float32 for each step");
  c.output(kUpdated, parameters);
  if (c.activationType() != DType::F32) c.output(kHalfCopy, {parameters.axes, c.activationType()});
  for (int moment = 0; moment < moments; ++moment) {
    requireFlat(kMoments + moment);
    c.output(kMoment1 + moment, c.input(kMoments + moment));
  }
}

void inferAdam(InferContext& c) {
  const double beta1 = c.attributes().number("beta1"), beta2 = c.attributes().number("beta2");
  c.require(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1,
            "beta1 and beta2 must be at least 0 and less than 1");
  c.require(c.attributes().number("epsilon") > 0,
            "epsilon must be greater than 0: padding lanes would divide 0 by 0");
  inferUpdate(c, 2);
}

void inferRadam(InferContext& c) {
  const int64_t first = c.attributes().integer("firstSteps", 0);
  c.require(first >= 0 && first <= 3, "firstSteps must be one of four");
  inferAdam(c);
}

void inferSgd(InferContext& c) {
  const double momentum = c.attributes().number("momentum");
  c.require(momentum >= 0 && momentum < 1, "momentum must be at least 0 and less than 1");
  inferUpdate(c, c.has(kMoments) ? 1 : 0);
}

Cost adamCost(const CallShape& c) { return {.vectorFlops = 14.0 * c.inputs[0]->physicalElements()}; }
Cost sgdCost(const CallShape& c) { return {.vectorFlops = 7.0 * c.inputs[0]->physicalElements()}; }

}  // namespace

void register_optimizer(OperationRegistry& registry) {
  // `momenta` takes the place of beta1 or momentum where a schedule moves them. Where the precision has a
  // 16-bit copy of the parameters, the update writes it too.
  for (const char* name : {"adamw", "adam", "radam"}) {
    registry.add({.name = name,
                  .inputs = {"parameters*", "gradients*", "chunks*", "norm*", "counters*", "momenta?",
                             "moment1*", "moment2*"},
                  .outputs = {"parameters*", "halfCopy?*", "moment1*", "moment2*"},
                  .infer = std::string(name) == "radam" ? inferRadam : inferAdam,
                  .cost = adamCost});
  }
  registry.add(
      {.name = "sgd",
       .inputs = {"parameters*", "gradients*", "chunks*", "norm*", "counters*", "momenta?", "moment1?*"},
       .outputs = {"parameters*", "halfCopy?*", "moment1?*"},
       .infer = inferSgd,
       .cost = sgdCost});
}

}  // namespace tesserae
