#include "ops/attributes.h"
#include "ops/registry.h"

namespace tesserae::TESSERAE_ISA {

namespace {

void advanceSamples(const KernelContext& c) {
  c.outputs[0].i64()[kFirstSample] += c.attributes->integer("rows", 0);
}

}  // namespace

void register_advance_samples_cpu(KernelRegistry& registry) {
  registry.add("advance_samples", advanceSamples);
}

}  // namespace tesserae::TESSERAE_ISA
