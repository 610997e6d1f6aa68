#include "ops/registry.h"

namespace tesserae::TESSERAE_ISA {

namespace {

void add(const KernelContext& c) {
  const float* a = c.inputs[0].f32();
  const float* b = c.inputs[1].f32();
  float* y = c.outputs[0].f32();
  const int64_t elements = c.outputs[0].elements;
#pragma omp parallel for simd schedule(static) num_threads(c.threads)
  for (int64_t i = 0; i < elements; ++i) y[i] = a[i] + b[i];
}

}  // namespace

void register_add_cpu(KernelRegistry& registry) { registry.add("add", add); }

}  // namespace tesserae::TESSERAE_ISA
