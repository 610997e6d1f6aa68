// A batch's numbers, bytes or fp32, in the type of the activations.
#include "ops/registry.h"

namespace tesserae {

namespace {

void inferConvert(InferContext& c) {
  const TensorSpec& x = c.input(0);
  c.require(x.dtype == DType::U8 || x.dtype == DType::F32, "x must be uint8 or float32, not " + x.describe());
  c.output(0, {x.axes, c.activationType()});
}

void differentiateConvert(GradientContext& c) { c.flow(0, c.outputGradient(0)); }

}  // namespace

void register_convert(OperationRegistry& registry) {
  registry.add({.name = "convert",
                .inputs = {"x"},
                .outputs = {"y"},
                .infer = inferConvert,
                .gradient = differentiateConvert});
}

}  // namespace tesserae
