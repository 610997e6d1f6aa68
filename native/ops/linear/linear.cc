// Linear layer y = activation(x Wᵀ + b) and its gradients.
#include <string_view>

#include "ops/activation/functions.h"
#include "ops/cpu_gemm.h"
#include "ops/gemm/problem.h"
#include "ops/linear/plan.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

Axes leading(const TensorSpec& spec) { return Axes(spec.axes.begin(), spec.axes.end() - 1); }

Axes withLast(Axes axes, const Axis& last) {
  axes.push_back(last);
  return axes;
}

// x [..., in], weight [out, in] -> y, pre [..., out]
void inferLinear(InferContext& c) {
  enum { kX, kWeight, kBias };
  const TensorSpec &x = c.input(kX), &weight = c.input(kWeight);
  c.require(weight.axes.size() == 2, "weight must have two axes (out, in), not " + weight.describe());
  c.require(!x.axes.empty() && x.axes.back().fits(weight.axes[1]),
            "the last axis of x (" + x.describe() + ") must be the second one of weight (" +
                weight.describe() + ")");
  if (c.has(kBias)) {
    const TensorSpec& bias = c.input(kBias);
    c.require(
        bias.axes.size() == 1 && bias.axes[0].fits(weight.axes[0]),
        "bias (" + bias.describe() + ") must have the first axis of weight (" + weight.describe() + ")");
  }
  parseActivation(c.attributes().text("activation"));
  const bool wide = std::string_view(c.attributes().text("result")) == "float32";
  const TensorSpec y{withLast(leading(x), weight.axes[0]), wide ? DType::F32 : c.activationType()};
  c.output(0, y);
  c.output(1, y);
}

void differentiateLinear(GradientContext& c) {
  enum { kX, kWeight, kBias };
  const ValueId dy = c.outputGradient(0);
  if (c.needs(kX)) {
    const auto out = c.emit("linear_input_gradient", {dy, c.input(kWeight), kAbsent}, {}, {kNew, kAbsent});
    c.flow(kX, out[0]);
  }
  const bool bias = c.input(kBias) != kAbsent && c.needs(kBias);
  if (c.needs(kWeight) || bias) {
    const auto out = c.emit("linear_weight_gradient", {dy, c.input(kX)}, {},
                            {c.target(kWeight), bias ? c.target(kBias) : kAbsent});
    c.flow(kWeight, out[0]);
    if (bias) c.flow(kBias, out[1]);
  }
}

// dy [..., out], weight [out, in], pre? [..., in] -> dx [..., in], columnSums [in]
void inferInputGradient(InferContext& c) {
  enum { kDy, kWeight, kPre };
  const TensorSpec &dy = c.input(kDy), &weight = c.input(kWeight);
  c.require(weight.axes.size() == 2 && !dy.axes.empty() && dy.axes.back().fits(weight.axes[0]),
            "the last axis of dy (" + dy.describe() + ") must be the first one of weight (" +
                weight.describe() + ")");
  const TensorSpec dx{withLast(leading(dy), weight.axes[1]), c.activationType()};
  if (c.has(kPre)) {
    c.require(c.input(kPre).physicalElements() == dx.physicalElements(), "pre must have the shape of dx");
    if (parseActivation(c.attributes().text("activation")) == ActivationFunction::None) {
      c.reject("pre is given without an activation");
    }
  }
  c.output(0, dx);
  c.output(1, {{weight.axes[1]}, DType::F32});
}

// dy [..., out], x [..., in] -> dweight [out, in], dbias [out]
void inferWeightGradient(InferContext& c) {
  enum { kDy, kX };
  const TensorSpec &dy = c.input(kDy), &x = c.input(kX);
  c.require(!dy.axes.empty() && !x.axes.empty() && dy.rows() == x.rows(), "dy and x must have the same rows");
  c.output(0, {{dy.axes.back(), x.axes.back()}, DType::F32});
  c.output(1, {{dy.axes.back()}, DType::F32});
}

// dy or x, and the weight.
Cost productCost(const CallShape& c) {
  const TensorSpec &rows = *c.inputs[0], &weight = *c.inputs[1];
  const bool activated = parseActivation(c.attributes.text("activation")) != ActivationFunction::None;
  const double outputs = static_cast<double>(c.outputs[0]->physicalElements());
  return {.matrixFlops = 2.0 * rows.rows() * weight.physicalElements(),
          .vectorFlops = (activated ? 21 : 1) * outputs};
}

// Of the sums of 32 rows each, which the product writes and a kernel adds.
int64_t partialSumBytes(const TensorSpec& dx) {
  return columnSumRows(dx.rows()) * dx.columns() * static_cast<int64_t>(sizeof(float));
}

Cost inputGradientCost(const CallShape& c) {
  Cost cost = productCost(c);
  const TensorSpec& dx = *c.outputs[0];
  if (!c.outputs[1]) return cost;
  cost.vectorFlops += static_cast<double>(dx.physicalElements());
  cost.extraBytes += 2.0 * partialSumBytes(dx);
  return cost;
}

Cost weightGradientCost(const CallShape& c) {
  const TensorSpec &dy = *c.inputs[0], &x = *c.inputs[1];
  const double columns = static_cast<double>(dy.axes.back().physical());
  return {.matrixFlops = c.outputs[0] ? 2.0 * columns * x.physicalElements() : 0.0,
          .vectorFlops = c.outputs[1] ? 1.0 * dy.physicalElements() : 0.0,
          // The product and the sums each read dy.
          .extraBytes = c.outputs[0] && c.outputs[1] ? static_cast<double>(dy.bytes()) : 0.0};
}

ActivationFunction activationOf(const CallShape& c) {
  return parseActivation(c.attributes.text("activation"));
}

std::optional<KernelChoice> chooseLinear(const CallShape& c, const Target& target) {
  enum { kX, kWeight, kBias };
  enum { kY, kPre };
  if (!target.isCuda()) return KernelChoice{"linear"};
  const TensorSpec &x = *c.inputs[kX], &y = *c.outputs[kY];
  const bool rowInvariant = c.attributes.flag("rowInvariant");
  // How many rows a sequence has may decide, but not how many sequences there are.
  if (rowInvariant && c.attributes.integer("rowsOfSequence", 1) == 1 && !c.outputs[kPre])
    return KernelChoice{"linear/few_rows"};
  GemmProblem problem{.transB = true,
                      .m = x.rows(),
                      .n = y.columns(),
                      .k = x.columns(),
                      .type = x.dtype,
                      .result = y.dtype,
                      .rowInvariant = rowInvariant};
  using Kind = GemmPiece::Kind;
  if (c.inputs[kBias]) problem.epilogue.push_back({Kind::Bias});
  if (c.outputs[kPre]) problem.epilogue.push_back({Kind::KeepInput});
  if (const ActivationFunction f = activationOf(c); f != ActivationFunction::None)
    problem.epilogue.push_back({Kind::Activation, f});
  return chooseProducts("linear", {problem}, target);
}

std::optional<KernelChoice> chooseInputGradient(const CallShape& c, const Target& target) {
  enum { kDy, kWeight, kPre };
  enum { kDx, kColumnSums };
  if (!target.isCuda() && c.outputs[kColumnSums]) return std::nullopt;
  if (!target.isCuda()) return KernelChoice{"linear_input_gradient"};
  const TensorSpec &dy = *c.inputs[kDy], &dx = *c.outputs[kDx];
  GemmProblem problem{
      .m = dy.rows(), .n = dx.columns(), .k = dy.columns(), .type = dy.dtype, .result = dx.dtype};
  if (c.inputs[kPre]) problem.epilogue.push_back({GemmPiece::Kind::Slope, activationOf(c)});
  if (c.outputs[kColumnSums]) problem.epilogue.push_back({GemmPiece::Kind::ColumnSums});
  return chooseProducts("linear_input_gradient", {problem}, target);
}

std::optional<KernelChoice> chooseWeightGradient(const CallShape& c, const Target& target) {
  enum { kDy, kX };
  if (!target.isCuda()) return KernelChoice{"linear_weight_gradient"};
  const TensorSpec &dy = *c.inputs[kDy], &x = *c.inputs[kX];
  std::vector<GemmProblem> problems;
  if (c.outputs[0])
    problems.push_back(
        {.transA = true, .m = dy.columns(), .n = x.columns(), .k = dy.rows(), .type = dy.dtype});
  return chooseProducts("linear_weight_gradient", problems, target);
}

// On a GPU: of the product, then a copy of the weight where it has another type than the activations.
int64_t productWorkspace(const CallShape& c, const Target& target, const KernelChoice&) {
  if (!target.isCuda()) return 0;
  const TensorSpec &rows = *c.inputs[0], &weight = *c.inputs[1];
  return gemmWorkspaceBytes(target) + weightCopyBytes(weight.dtype, rows.dtype, weight.physicalElements());
}

// Then the partial sums, and what a kernel needs to add them.
int64_t inputGradientWorkspace(const CallShape& c, const Target& target, const KernelChoice& choice) {
  const int64_t product = productWorkspace(c, target, choice);
  if (!c.outputs[1]) return product;
  const TensorSpec& dx = *c.outputs[0];
  return product + partialSumBytes(dx) +
         planColumnSum(columnSumRows(dx.rows()), dx.columns()).floats * static_cast<int64_t>(sizeof(float));
}

int64_t weightGradientWorkspace(const CallShape& c, const Target& target, const KernelChoice&) {
  const TensorSpec &dy = *c.inputs[0], &x = *c.inputs[1];
  if (target.isCuda()) {
    const int64_t sums = planColumnSum(dy.rows(), dy.columns()).floats;
    return gemmWorkspaceBytes(target) + (c.outputs[1] ? sums * static_cast<int64_t>(sizeof(float)) : 0);
  }
  return planWeightGradient(dy.rows(), dy.columns(), x.columns()).floats *
         static_cast<int64_t>(sizeof(float));
}

}  // namespace

void register_linear(OperationRegistry& registry) {
  // y = activation(pre), pre = x Wᵀ + b; pre is saved for the backward pass. With result = float32, y is fp32
  // whatever the precision. With rowInvariant a row of y depends on its row of x alone, bit for bit;
  // rowsOfSequence then tells the rows that each sequence has.
  registry.add({.name = "linear",
                .inputs = {"x", "weight", "bias?"},
                .outputs = {"y", "pre?"},
                .infer = inferLinear,
                .gradient = differentiateLinear,
                .cost = productCost,
                .choose = chooseLinear,
                .workspace = productWorkspace,
                .takes = {{Piece::Activation, Takes::Side::Epilogue, "y", {}, "activation", "pre"}}});
  // dx = (dy W) ∘ activation'(pre), columnSums = column sums of dx, in fp32 before dx is rounded
  registry.add(
      {.name = "linear_input_gradient",
       .inputs = {"dy", "weight", "pre?"},
       .outputs = {"dx", "columnSums?"},
       .infer = inferInputGradient,
       .cost = inputGradientCost,
       .choose = chooseInputGradient,
       .workspace = inputGradientWorkspace,
       .takes = {
           {Piece::Slope, Takes::Side::Epilogue, "dx", "pre", "activation"},
           {.piece = Piece::ColumnSums, .side = Takes::Side::Epilogue, .on = "dx", .into = "columnSums"}}});
  // dweight = dyᵀ x, dbias = column sums of dy
  registry.add({.name = "linear_weight_gradient",
                .inputs = {"dy", "x"},
                .outputs = {"dweight?", "dbias?"},
                .infer = inferWeightGradient,
                .cost = weightGradientCost,
                .choose = chooseWeightGradient,
                .workspace = weightGradientWorkspace,
                .outputPiece = OutputPiece{Piece::ColumnSums, "dbias", "dy"}});
}

}  // namespace tesserae
