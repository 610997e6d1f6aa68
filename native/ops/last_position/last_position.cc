// The last valid position of each row: what predicts the next token, or a class of the whole row.
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

void differentiateLastPosition(GradientContext& c) {
  enum { kX, kLengths };
  const auto out = c.emit("last_position_backward", {c.outputGradient(0), c.input(kX), c.input(kLengths)}, {},
                          {c.target(kX)});
  c.flow(kX, out[0]);
}

void inferBackward(InferContext& c) {
  enum { kDy, kX };
  const TensorSpec &dy = c.input(kDy), &x = c.input(kX);
  c.require(dy.axes.size() == 2 && dy.axes[1].fits(x.axes[2]) && dy.dtype == x.dtype,
            "dy must be batch × features of x, not " + dy.describe());
  c.output(0, x);
}

// x says how large the gradient is; its values are not read.
Cost backwardCost(const CallShape& c) { return {.extraBytes = -static_cast<double>(c.inputs[1]->bytes())}; }

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
                .gradient = differentiateLastPosition,
                .cost = lastPositionCost});
  // dx[b, t] = dy[b] at t = lengths[b] - 1, zero elsewhere
  registry.add({.name = "last_position_backward",
                .inputs = {"dy", "x", "lengths"},
                .outputs = {"dx"},
                .infer = inferBackward,
                .cost = backwardCost});
}

}  // namespace tesserae
