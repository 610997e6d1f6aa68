// The sum of two tensors of the same shape: residual connections.
#include "ops/registry.h"

namespace tesserae {

namespace {

void inferAdd(InferContext& c) {
  enum { kA, kB };
  c.require(
      fits(c.input(kA).axes, c.input(kB).axes) && c.input(kA).dtype == c.input(kB).dtype,
      "a and b must have the same shape, not " + c.input(kA).describe() + " and " + c.input(kB).describe());
  c.output(0, c.input(kA));
}

void differentiateAdd(GradientContext& c) {
  const ValueId dy = c.outputGradient(0);
  c.flow(0, dy);
  c.flow(1, dy);
}

Cost addCost(const CallShape& c) { return {.vectorFlops = 1.0 * c.outputs[0]->physicalElements()}; }

}  // namespace

void register_add(OperationRegistry& registry) {
  registry.add({.name = "add",
                .inputs = {"a", "b"},
                .outputs = {"y"},
                .infer = inferAdd,
                .gradient = differentiateAdd,
                .cost = addCost,
                .aliases = {{0, 0}, {0, 1}},
                .piece = AsPiece{Piece::Addend, "a", "b", {}, true}});
}

}  // namespace tesserae
