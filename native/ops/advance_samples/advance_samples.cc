// The end of a micro-step: the next one's rows are the samples after this one's.
#include "ops/kernel.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

void inferAdvanceSamples(InferContext& c) {
  c.require(c.input(0).physicalElements() == kCounters && c.input(0).dtype == DType::I64,
            "counters must be four int64, not " + c.input(0).describe());
  c.require(c.attributes().integer("rows", 0) >= 1, "rows must be at least 1");
  c.output(0, c.input(0));
}

}  // namespace

void register_advance_samples(OperationRegistry& registry) {
  registry.add({.name = "advance_samples",
                .inputs = {"counters*"},
                .outputs = {"counters*"},
                .infer = inferAdvanceSamples});
}

}  // namespace tesserae
