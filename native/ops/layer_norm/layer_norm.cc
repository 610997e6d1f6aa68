// Layer normalisation over the last axis (Ba et al. 2016), with an optional residual sum before it.
#include <algorithm>

#include "ops/registry.h"

namespace tesserae {

namespace {

// y = (s - mean) * rstd * weight + bias, s = x + residual; mean and rstd over the logical columns of a row.
void inferLayerNorm(InferContext& c) {
  enum { kX, kWeight, kBias, kResidual };
  const TensorSpec& x = c.input(kX);
  c.require(!x.axes.empty(), "x needs an axis to normalise over");
  const Axis& features = x.axes.back();
  c.require(c.input(kWeight).axes.size() == 1 && c.input(kWeight).axes[0].fits(features),
            "weight must have the last axis of x, not " + c.input(kWeight).describe());
  c.require(features.factors.size() == 1, "the normalised axis must be a single factor");
  if (c.has(kBias))
    c.require(c.input(kBias).axes.size() == 1 && c.input(kBias).axes[0].fits(features),
              "bias must have the last axis of x");
  if (c.has(kResidual))
    c.require(c.input(kResidual).physicalElements() == x.physicalElements(),
              "residual must have the shape of x");
  const Axes rows(x.axes.begin(), x.axes.end() - 1);
  c.output(0, x);
  c.output(1, x);
  c.output(2, {rows, DType::F32});
  c.output(3, {rows, DType::F32});
}

void differentiateLayerNorm(GradientContext& c) {
  enum { kX, kWeight, kBias, kResidual };
  enum { kY, kSum, kMean, kRstd };
  // The saved input is the sum when there is a residual.
  const bool residual = c.input(kResidual) != kAbsent;
  const ValueId saved = residual ? c.output(kSum) : c.input(kX);
  const auto out =
      c.emit("layer_norm_backward",
             {c.outputGradient(kY), saved, c.input(kWeight), c.output(kMean), c.output(kRstd),
              residual ? c.outputGradient(kSum) : kAbsent},
             {}, {kNew, c.target(kWeight), c.input(kBias) == kAbsent ? kAbsent : c.target(kBias), kAbsent});
  c.flow(kX, out[0]);
  if (residual) c.flow(kResidual, out[0]);
}

void inferBackward(InferContext& c) {
  enum { kDy, kX, kWeight };
  c.output(0, c.input(kX));
  c.output(1, {c.input(kWeight).axes, DType::F32});
  c.output(2, {c.input(kWeight).axes, DType::F32});
  c.output(3, {c.input(kWeight).axes, DType::F32});
}

Cost forwardCost(const CallShape& c) { return {.vectorFlops = 8.0 * c.inputs[0]->physicalElements()}; }
Cost backwardCost(const CallShape& c) {
  return {.vectorFlops = (c.outputs[3] ? 15.0 : 14.0) * c.inputs[0]->physicalElements()};
}

// On a GPU: the largest number of blocks; each writes a row of partial sums of dweight, of dbias and, where
// they are asked for, of dx.
std::optional<KernelChoice> chooseBackward(const CallShape& c, const Target& target) {
  enum { kDx, kDweight, kDbias, kColumnSums };
  if (c.outputs[kColumnSums] && !target.isCuda()) return std::nullopt;
  constexpr int64_t kBlocksOfMultiprocessor = 8;
  const TensorSpec& x = *c.inputs[1];
  const int64_t rows = x.physicalElements() / x.axes.back().physical();
  return KernelChoice{
      "layer_norm_backward", {}, std::min<int64_t>(rows, kBlocksOfMultiprocessor * target.multiprocessors)};
}

// Partial column sums of weight and bias gradients and of dx, a row of each per thread-independent block of
// rows.
int64_t backwardWorkspace(const CallShape& c, const Target& target, const KernelChoice& choice) {
  const TensorSpec& x = *c.inputs[1];
  const int64_t columns = x.axes.back().physical(), rows = x.physicalElements() / columns;
  const int64_t blocks = !target.isCuda() ? (rows + 63) / 64 : choice.ctas;
  return (c.outputs[3] ? 3 : 2) * blocks * columns * static_cast<int64_t>(sizeof(float));
}

}  // namespace

void register_layer_norm(OperationRegistry& registry) {
  registry.add({.name = "layer_norm",
                .inputs = {"x", "weight", "bias?", "residual?"},
                .outputs = {"y", "sum?", "mean?", "rstd?"},
                .infer = inferLayerNorm,
                .gradient = differentiateLayerNorm,
                .cost = forwardCost,
                .aliases = {{1, 3}, {1, 0}, {0, 0}},
                .takes = {{Piece::Addend, Takes::Side::Prologue, "x", "residual", {}, "sum"}}});
  // dx = LayerNorm's input gradient + addend (what flows around the norm on the residual path), columnSums =
  // column sums of dx, in fp32 before dx is rounded.
  registry.add(
      {.name = "layer_norm_backward",
       .inputs = {"dy", "x", "weight", "mean", "rstd", "addend?"},
       .outputs = {"dx", "dweight?", "dbias?", "columnSums?"},
       .infer = inferBackward,
       .cost = backwardCost,
       .choose = chooseBackward,
       .workspace = backwardWorkspace,
       .aliases = {{0, 0}, {0, 5}},
       .takes = {
           {Piece::Addend, Takes::Side::Epilogue, "dx", "addend"},
           {.piece = Piece::ColumnSums, .side = Takes::Side::Epilogue, .on = "dx", .into = "columnSums"}}});
}

}  // namespace tesserae
