// Learned absolute positions: a row of a table added to each position of x.
#include "ops/positions.h"
#include "ops/registry.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

void inferPositionEmbedding(InferContext& c) {
  enum { kX, kWeight, kStart, kStarts };
  const TensorSpec &x = c.input(kX), &weight = c.input(kWeight);
  c.require(x.axes.size() == 3, "x must be batch × time × features, not " + x.describe());
  c.require(weight.axes.size() == 2 && weight.axes[1].fits(x.axes[2]),
            "weight must be positions × the last axis of x, not " + weight.describe());
  if (c.has(kStart)) {
    const TensorSpec& start = c.input(kStart);
    c.require(start.axes.size() == 1 && start.axes[0].fits(x.axes[0]) && start.dtype == DType::I32,
              "start must be int32 with the batch axis of x, not " + start.describe());
  } else {
    const int64_t time = x.axes[1].logical(), positions = weight.axes[0].logical();
    c.require(time <= positions, "x has " + std::to_string(time) + " positions, but the table only " +
                                     std::to_string(positions) + ": shorten the rows or enlarge the table");
  }
  if (c.has(kStarts)) {
    c.require(!c.has(kStart), "start is for a row of one document, starts for several: give one of them");
    requirePositions(c, "starts", c.input(kStarts), x);
  }
  c.output(0, x);
}

void differentiatePositionEmbedding(GradientContext& c) {
  enum { kX, kWeight, kStart, kStarts };
  if (c.input(kStart) != kAbsent) {
    fail(ErrorCode::Config, "position_embedding with `start` is for inference: it has no gradient");
  }
  const ValueId dy = c.outputGradient(0), dweight = c.target(kWeight);
  if (dweight != kAbsent)
    c.emit("position_embedding_backward", {dy, c.input(kWeight), c.input(kStarts)}, {}, {dweight});
  c.flow(kX, dy);
}

void inferBackward(InferContext& c) {
  enum { kDy, kWeight };
  c.output(0, {c.input(kWeight).axes, DType::F32});
}

Cost forwardCost(const CallShape& c) { return {.vectorFlops = 1.0 * c.outputs[0]->physicalElements()}; }

// The table is there for its shape.
Cost backwardCost(const CallShape& c) {
  return {.vectorFlops = 1.0 * c.inputs[0]->physicalElements(),
          .extraBytes = -static_cast<double>(c.inputs[1]->bytes())};
}

}  // namespace

void register_position_embedding(OperationRegistry& registry) {
  // y[b, t] = x[b, t] + weight[start[b] + t - starts[b, t]], start and starts = 0 when absent; start[b] is
  // the next position of a row that is decoded, starts[b, t] the start of a position's document
  registry.add({.name = "position_embedding",
                .inputs = {"x", "weight", "start?", "starts?"},
                .outputs = {"y"},
                .infer = inferPositionEmbedding,
                .gradient = differentiatePositionEmbedding,
                .cost = forwardCost,
                .aliases = {{0, 0}}});
  registry.add({.name = "position_embedding_backward",
                .inputs = {"dy", "weight", "starts?"},
                .outputs = {"dweight"},
                .infer = inferBackward,
                .cost = backwardCost});
}

}  // namespace tesserae
