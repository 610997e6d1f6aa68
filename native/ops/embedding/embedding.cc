// Rows of a table looked up by token ids, optionally with another tensor added (position embeddings).
#include "ops/embedding/plan.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

void inferEmbedding(InferContext& c) {
  enum { kIds, kWeight, kAddend };
  const TensorSpec &ids = c.input(kIds), &weight = c.input(kWeight);
  c.require(ids.dtype == DType::I32, "ids must be int32, not " + ids.describe());
  c.require(weight.axes.size() == 2, "weight must be vocabulary × features, not " + weight.describe());
  TensorSpec y{ids.axes, c.activationType()};
  y.axes.push_back(weight.axes[1]);
  if (c.has(kAddend)) {
    c.require(fits(c.input(kAddend).axes, y.axes),
              "addend must be " + y.describe() + ", not " + c.input(kAddend).describe());
  }
  c.output(0, y);
}

void differentiateEmbedding(GradientContext& c) {
  enum { kIds, kWeight, kAddend };
  const ValueId dy = c.outputGradient(0), dweight = c.target(kWeight);
  if (dweight != kAbsent) {
    c.emit("embedding_backward", {c.input(kIds), dy, c.input(kWeight)}, {}, {dweight});
  }
  if (c.input(kAddend) != kAbsent) c.flow(kAddend, dy);
}

void inferBackward(InferContext& c) {
  enum { kIds, kDy, kWeight };
  c.output(0, {c.input(kWeight).axes, DType::F32});
}

// Only the rows looked up are read, not the whole table.
Cost forwardCost(const CallShape& c) {
  const double elements = static_cast<double>(c.outputs[0]->physicalElements());
  const TensorSpec& weight = *c.inputs[1];
  return {.vectorFlops = c.inputs[2] ? elements : 0,
          .extraBytes = elements * dtypeSize(weight.dtype) - static_cast<double>(weight.bytes())};
}

// The table is there for its shape: dy is read and the gradient written.
Cost backwardCost(const CallShape& c) {
  return {.vectorFlops = static_cast<double>(c.inputs[1]->physicalElements()),
          .extraBytes = -static_cast<double>(c.inputs[2]->bytes())};
}

int64_t backwardWorkspace(const CallShape& c, const Target& target, const KernelChoice&) {
  if (!target.isCuda()) return 0;
  enum { kIds, kDy, kWeight };
  const Axes& table = c.inputs[kWeight]->axes;
  return EmbeddingSort(c.inputs[kIds]->physicalElements(), table[0].logical(), table[1].physical()).bytes;
}

}  // namespace

void register_embedding(OperationRegistry& registry) {
  // y[b, t] = weight[ids[b, t]] + addend[b, t]
  registry.add({.name = "embedding",
                .inputs = {"ids", "weight", "addend?"},
                .outputs = {"y"},
                .infer = inferEmbedding,
                .gradient = differentiateEmbedding,
                .cost = forwardCost,
                .aliases = {{0, 2}},
                .takes = {{Piece::Addend, Takes::Side::Epilogue, "y", "addend"}}});
  registry.add({.name = "embedding_backward",
                .inputs = {"ids", "dy", "weight"},
                .outputs = {"dweight"},
                .infer = inferBackward,
                .cost = backwardCost,
                .workspace = backwardWorkspace});
}

}  // namespace tesserae
