#include "ops/registry.h"
#include "ops/state.h"

namespace tesserae::TESSERAE_ISA {

namespace {

void advanceCounters(const KernelContext& c) {
  Counters* counters = c.outputs[0].as<Counters>();
  counters->attempted += 1;
  counters->applied += c.inputs[1].as<GradientNorm>()->applies != 0 ? 1 : 0;
  counters->firstSample = 0;
}

}  // namespace

void register_advance_counters_cpu(KernelRegistry& registry) {
  registry.add("advance_counters", advanceCounters);
}

}  // namespace tesserae::TESSERAE_ISA
