// The last valid position of each row: what predicts the next token.
#include "ops/registry.h"

namespace tesserae {

namespace {

void inferLastPosition(InferContext& c) {
  enum { kX, kLengths };
  const TensorSpec &x = c.input(kX), &lengths = c.input(kLengths);
  c.require(x.axes.size() == 3, "x must be batch × time × features, not " + x.describe());
  c.require(lengths.axes.size() == 1 && lengths.axes[0].fits(x.axes[0]) && lengths.dtype == DType::I32,
            "lengths must be int32 with the batch axis of x, not " + lengths.describe());
  c.output(0, {{x.axes[0], x.axes[2]}, x.dtype});
}

// One position of each row is read.
Cost lastPositionCost(const CallShape& c) {
  return {.extraBytes = static_cast<double>(c.outputs[0]->bytes() - c.inputs[0]->bytes())};
}

}  // namespace

void register_last_position(OperationRegistry& registry) {
  // y[b] = x[b, lengths[b] - 1], zero where lengths[b] = 0
  registry.add({.name = "last_position",
                .inputs = {"x", "lengths"},
                .outputs = {"y"},
                .infer = inferLastPosition,
                .cost = lastPositionCost});
}

}  // namespace tesserae
