#include "ops/activation/dispatch.h"
#include "ops/attributes.h"
#include "ops/registry.h"
#include "ops/vector_math.h"

namespace tesserae::TESSERAE_ISA {

namespace {

constexpr int64_t kBlock = 4096;  // elements of a task

template <ActivationFunction F>
void forward(const KernelContext& c) {
  const float* x = c.inputs[0].f32();
  float* y = c.outputs[0].f32();
  const int64_t elements = c.outputs[0].elements;
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t start = 0; start < elements; start += kBlock) {
    const int64_t end = start + kBlock < elements ? start + kBlock : elements;
#pragma omp simd
    for (int64_t i = start; i < end; ++i) y[i] = activate<F>(x[i]);
  }
}

template <ActivationFunction F>
void backward(const KernelContext& c) {
  const float* dy = c.inputs[0].f32();
  const float* x = c.inputs[1].f32();
  float* dx = c.outputs[0].f32();
  const int64_t elements = c.outputs[0].elements;
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t start = 0; start < elements; start += kBlock) {
    const int64_t end = start + kBlock < elements ? start + kBlock : elements;
#pragma omp simd
    for (int64_t i = start; i < end; ++i) dx[i] = dy[i] * activationSlope<F>(x[i]);
  }
}

void activation(const KernelContext& c) {
  dispatchActivationFunction(parseActivation(c.attributes->text("function")),
                             [&](auto function) { forward<decltype(function)::value>(c); });
}

void activationBackward(const KernelContext& c) {
  dispatchActivationFunction(parseActivation(c.attributes->text("function")),
                             [&](auto function) { backward<decltype(function)::value>(c); });
}

}  // namespace

void register_activation_cpu(KernelRegistry& registry) {
  registry.add("activation", activation);
  registry.add("activation_backward", activationBackward);
}

}  // namespace tesserae::TESSERAE_ISA
