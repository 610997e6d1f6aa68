// Logarithms of softmax probabilities over the last axis, for inference: logits − log Σ exp(logits).
#include "ops/registry.h"

namespace tesserae {

namespace {

void inferLogSoftmax(InferContext& c) {
  const TensorSpec& x = c.input(0);
  c.require(!x.axes.empty() && x.axes.back().factors.size() == 1, "the last axis must be a single factor");
  c.output(0, {x.axes, DType::F32});
}

Cost cost(const CallShape& c) { return {.vectorFlops = 12.0 * c.inputs[0]->physicalElements()}; }

}  // namespace

void register_log_softmax(OperationRegistry& registry) {
  registry.add({.name = "log_softmax",
                .inputs = {"x"},
                .outputs = {"y"},
                .infer = inferLogSoftmax,
                .cost = cost,
                .aliases = {{0, 0}}});
}

}  // namespace tesserae
