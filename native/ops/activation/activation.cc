// Activation functions applied element by element.
#include <cstring>
#include <string>

#include "ops/activation/functions.h"
#include "ops/registry.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

const char* const kNames[] = {"",     "gelu", "gelu_new",
                              "relu", "silu", "tanh"};  // in the order of the enumeration

void inferActivation(InferContext& c) {
  if (parseActivation(c.attributes().text("function")) == ActivationFunction::None)
    c.reject("function is missing");
  c.output(0, c.input(0));
}

void differentiateActivation(GradientContext& c) {
  const auto out = c.emit("activation_backward", {c.outputGradient(0), c.input(0)}, c.attributes(), {kNew});
  c.flow(0, out[0]);
}

void inferBackward(InferContext& c) {
  enum { kDy, kX };
  c.require(c.input(kDy).physicalElements() == c.input(kX).physicalElements(), "dy must have the shape of x");
  c.output(0, c.input(kX));
}

Cost forwardCost(const CallShape& c) { return {.vectorFlops = 20.0 * c.inputs[0]->physicalElements()}; }
Cost backwardCost(const CallShape& c) { return {.vectorFlops = 30.0 * c.inputs[0]->physicalElements()}; }

}  // namespace

ActivationFunction parseActivation(const char* name) {
  std::string known;
  for (int i = 0; i < 6; ++i) {
    if (!std::strcmp(name, kNames[i])) return static_cast<ActivationFunction>(i);
    if (i > 0) known += std::string(i > 1 ? ", " : "") + kNames[i];
  }
  fail(ErrorCode::Config, "unknown activation function '%s'; use one of %s", name, known.c_str());
}

const char* activationName(ActivationFunction function) { return kNames[static_cast<int>(function)]; }

void register_activation(OperationRegistry& registry) {
  registry.add({.name = "activation",
                .inputs = {"x"},
                .outputs = {"y"},
                .infer = inferActivation,
                .gradient = differentiateActivation,
                .cost = forwardCost,
                .aliases = {{0, 0}},
                .piece = AsPiece{Piece::Activation, "x", {}, "function"}});
  // dx = dy f'(x)
  registry.add({.name = "activation_backward",
                .inputs = {"dy", "x"},
                .outputs = {"dx"},
                .infer = inferBackward,
                .cost = backwardCost,
                .aliases = {{0, 0}, {0, 1}},
                .piece = AsPiece{Piece::Slope, "dy", "x", "function"}});
}

}  // namespace tesserae
