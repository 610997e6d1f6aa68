#include "ops/registry.h"

namespace tesserae::TESSERAE_ISA {

namespace {

void advanceCounters(const KernelContext& c) {
  enum { kNorm, kMultiplier, kApply };
  int64_t* counters = c.outputs[0].i64();
  counters[kAttempted] += 1;
  counters[kApplied] += c.inputs[1].f32()[kApply] != 0 ? 1 : 0;
  counters[kFirstSample] = 0;
}

}  // namespace

void register_advance_counters_cpu(KernelRegistry& registry) {
  registry.add("advance_counters", advanceCounters);
}

}  // namespace tesserae::TESSERAE_ISA
