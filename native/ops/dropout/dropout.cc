// Inverted dropout (Srivastava et al. 2014, section 10): elements are dropped with probability p, the others
// scaled up.
#include "ops/registry.h"

namespace tesserae {

namespace {

void inferDropout(InferContext& c) {
  enum { kX, kCounters };
  const TensorSpec& x = c.input(kX);
  const double p = c.attributes().number("p");
  c.require(p >= 0 && p < 1, "p must be at least 0 and less than 1, not " + std::to_string(p));
  c.require(x.axes.size() >= 2, "x needs a batch axis and a last axis, not " + x.describe());
  c.require(x.axes.back().factors.size() == 1, "the last axis of x must be a single factor");
  c.require(x.axes[0].factors.size() == 1, "the first axis of x must be the batch");
  // Random numbers are indexed by logical positions: what a mask looks like must not depend on padding.
  for (size_t i = 0; i + 1 < x.axes.size(); ++i) {
    c.require(x.axes[i].logical() == x.axes[i].physical(),
              "only the last axis of x may be padded, not " + x.describe());
  }
  c.output(0, x);
}

// The mask is drawn again, from the same site and counters, instead of being saved.
void differentiateDropout(GradientContext& c) {
  enum { kX, kCounters };
  const auto out = c.emit("dropout", {c.outputGradient(0), c.input(kCounters)}, c.attributes(), {kNew});
  c.flow(kX, out[0]);
}

// Ten rounds of Philox for four elements are some 40 operations an element.
Cost dropoutCost(const CallShape& c) { return {.vectorFlops = 42.0 * c.outputs[0]->physicalElements()}; }

}  // namespace

void register_dropout(OperationRegistry& registry) {
  registry.add({.name = "dropout",
                .inputs = {"x", "counters*"},
                .outputs = {"y"},
                .infer = inferDropout,
                .gradient = differentiateDropout,
                .cost = dropoutCost,
                .aliases = {{0, 0}}});
}

}  // namespace tesserae
