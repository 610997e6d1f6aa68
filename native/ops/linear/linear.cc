// Linear layer y = activation(x Wᵀ + b) and its gradients.
#include <string_view>

#include "ops/activation/functions.h"
#include "ops/cpu_gemm.h"
#include "ops/cuda_gemm.h"
#include "ops/linear/plan.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

Axes leading(const TensorSpec& spec) { return Axes(spec.axes.begin(), spec.axes.end() - 1); }

Axes withLast(Axes axes, const Axis& last) {
  axes.push_back(last);
  return axes;
}

int64_t rowsOf(const TensorSpec& spec) { return spec.physicalElements() / spec.axes.back().physical(); }

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
  enum { kY, kPre };
  ValueId dy = c.outputGradient(kY);
  const char* activation = c.attributes().text("activation");
  if (parseActivation(activation) != ActivationFunction::None) {
    const Attributes function{{"function", std::string(activation)}};
    dy = c.emit("activation_backward", {dy, c.output(kPre)}, function, {kNew})[0];
  }
  if (c.needs(kX)) {
    const auto out = c.emit("linear_input_gradient", {dy, c.input(kWeight), kAbsent}, {}, {kNew});
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

// dy [..., out], weight [out, in], pre? [..., in] -> dx [..., in]
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
}

// dy [..., out], x [..., in] -> dweight [out, in], dbias [out]
void inferWeightGradient(InferContext& c) {
  enum { kDy, kX };
  const TensorSpec &dy = c.input(kDy), &x = c.input(kX);
  c.require(!dy.axes.empty() && !x.axes.empty() && rowsOf(dy) == rowsOf(x),
            "dy and x must have the same rows");
  c.output(0, {{dy.axes.back(), x.axes.back()}, DType::F32});
  c.output(1, {{dy.axes.back()}, DType::F32});
}

// dy or x, and the weight.
Cost productCost(const CallShape& c) {
  const TensorSpec &rows = *c.inputs[0], &weight = *c.inputs[1];
  const bool activated = parseActivation(c.attributes.text("activation")) != ActivationFunction::None;
  const double outputs = static_cast<double>(c.outputs[0]->physicalElements());
  return {.matrixFlops = 2.0 * rowsOf(rows) * weight.physicalElements(),
          .vectorFlops = (activated ? 21 : 1) * outputs};
}

Cost weightGradientCost(const CallShape& c) {
  const TensorSpec &dy = *c.inputs[0], &x = *c.inputs[1];
  const double columns = static_cast<double>(dy.axes.back().physical());
  return {.matrixFlops = c.outputs[0] ? 2.0 * columns * x.physicalElements() : 0.0,
          .vectorFlops = c.outputs[1] ? 1.0 * dy.physicalElements() : 0.0};
}

// On a GPU: of the product, then a copy of the weight where it has another type than the activations.
int64_t productWorkspace(const CallShape& c, DeviceKind device, int) {
  if (device == DeviceKind::CPU) return 0;
  const TensorSpec &rows = *c.inputs[0], &weight = *c.inputs[1];
  const int64_t copy = weight.dtype == rows.dtype ? 0 : weight.physicalElements() * dtypeSize(rows.dtype);
  return kGemmWorkspaceBytes + copy;
}

int64_t weightGradientWorkspace(const CallShape& c, DeviceKind device, int) {
  const TensorSpec &dy = *c.inputs[0], &x = *c.inputs[1];
  if (device == DeviceKind::CUDA) {
    const int64_t sums = planColumnSum(rowsOf(dy), dy.axes.back().physical()).floats;
    return kGemmWorkspaceBytes + (c.outputs[1] ? sums * static_cast<int64_t>(sizeof(float)) : 0);
  }
  return planWeightGradient(rowsOf(dy), dy.axes.back().physical(), x.axes.back().physical()).floats *
         static_cast<int64_t>(sizeof(float));
}

}  // namespace

void register_linear(OperationRegistry& registry) {
  // y = activation(pre), pre = x Wᵀ + b; pre is saved for the backward pass. With result = float32, y is fp32
  // whatever the precision. With rows = few or many, which says what is fast, a row of y depends on its row
  // of x alone, bit for bit.
  registry.add({.name = "linear",
                .inputs = {"x", "weight", "bias?"},
                .outputs = {"y", "pre?"},
                .infer = inferLinear,
                .gradient = differentiateLinear,
                .cost = productCost,
                .workspace = productWorkspace,
                .takes = {{Piece::Activation, Takes::Side::Epilogue, "y", {}, "activation", "pre"}}});
  // dx = (dy W) ∘ activation'(pre)
  registry.add(
      {.name = "linear_input_gradient",
       .inputs = {"dy", "weight", "pre?"},
       .outputs = {"dx"},
       .infer = inferInputGradient,
       .cost = productCost,
       .workspace = productWorkspace,
       .takes = {{Piece::Slope, Takes::Side::Epilogue, "dx", "pre", "activation"}}});
  // dweight = dyᵀ x, dbias = column sums of dy
  registry.add({.name = "linear_weight_gradient",
                .inputs = {"dy", "x"},
                .outputs = {"dweight?", "dbias?"},
                .infer = inferWeightGradient,
                .cost = weightGradientCost,
                .workspace = weightGradientWorkspace});
}

}  // namespace tesserae
