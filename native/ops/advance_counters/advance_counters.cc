// The end of an optimizer step: counts it as tried, and as taken unless its gradient was not finite.
#include "ops/kernel.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

void inferAdvanceCounters(InferContext& c) {
  enum { kCounterVector, kNorm };
  c.require(
      c.input(kCounterVector).physicalElements() == kCounters && c.input(kCounterVector).dtype == DType::I64,
      "counters must be four int64, not " + c.input(kCounterVector).describe());
  c.require(c.input(kNorm).physicalElements() == 4, "norm must be what gradient_norm gives");
  c.output(0, c.input(kCounterVector));
}

}  // namespace

void register_advance_counters(OperationRegistry& registry) {
  registry.add({.name = "advance_counters",
                .inputs = {"counters*", "norm*"},
                .outputs = {"counters*"},
                .infer = inferAdvanceCounters});
}

}  // namespace tesserae
