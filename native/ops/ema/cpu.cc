#include "ops/attributes.h"
#include "ops/registry.h"
#include "ops/state.h"

namespace tesserae::TESSERAE_ISA {

namespace {

void ema(const KernelContext& c) {
  if (c.inputs[1].as<GradientNorm>()->applies == 0) return;
  const float* parameters = c.inputs[0].f32();
  float* average = c.outputs[0].f32();
  const int64_t elements = c.outputs[0].elements;
  const float towards = static_cast<float>(1 - c.attributes->number("decay"));
#pragma omp parallel for simd schedule(static) num_threads(c.threads)
  for (int64_t i = 0; i < elements; ++i) average[i] += (parameters[i] - average[i]) * towards;
}

}  // namespace

void register_ema_cpu(KernelRegistry& registry) { registry.add("ema", ema); }

}  // namespace tesserae::TESSERAE_ISA
