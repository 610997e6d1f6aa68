// The end of an optimizer step: counts it as tried, and as taken unless its gradient was not finite.
#include "ops/registry.h"
#include "ops/state_values.h"

namespace tesserae {

namespace {

void inferAdvanceCounters(InferContext& c) {
  enum { kCounters, kNorm };
  requireState(c, kCounters, "counters");
  requireState(c, kNorm, "norm");
  c.output(0, stateSpec("counters"));
}

}  // namespace

void register_advance_counters(OperationRegistry& registry) {
  registry.add({.name = "advance_counters",
                .inputs = {"counters*", "norm*"},
                .outputs = {"counters*"},
                .infer = inferAdvanceCounters});
}

}  // namespace tesserae
