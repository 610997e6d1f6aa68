#include "ops/registry.h"

namespace tesserae::TESSERAE_ISA {

namespace {

template <class From>
void convertFrom(const KernelContext& c) {
  const From* x = static_cast<const From*>(c.inputs[0].data);
  float* y = c.outputs[0].f32();
  const int64_t elements = c.outputs[0].elements;
#pragma omp parallel for simd schedule(static) num_threads(c.threads)
  for (int64_t i = 0; i < elements; ++i) y[i] = static_cast<float>(x[i]);
}

void convert(const KernelContext& c) {
  c.inputs[0].dtype == DType::U8 ? convertFrom<uint8_t>(c) : convertFrom<float>(c);
}

}  // namespace

void register_convert_cpu(KernelRegistry& registry) { registry.add("convert", convert); }

}  // namespace tesserae::TESSERAE_ISA
