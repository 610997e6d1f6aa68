// Scaled dot-product self-attention over packed queries, keys and values (Vaswani et al. 2017,
// section 3.2.1).
#include <string>

#include "ops/attention/plan.h"
#include "ops/document_starts.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

struct Extents {
  int64_t batch, time, heads, head, physicalHead;
};

Extents extentsOf(const TensorSpec& qkv) {
  const std::vector<Factor>& last = qkv.axes[2].factors;
  return {qkv.axes[0].physical(), qkv.axes[1].physical(), last[1].logical, last[2].logical, last[2].physical};
}

void requirePacked(InferContext& c, const TensorSpec& qkv) {
  c.require(qkv.axes.size() == 3 && qkv.axes[0].factors.size() == 1 && qkv.axes[1].factors.size() == 1,
            "qkv needs the axes (batch, time, 3 · heads · head), not " + qkv.describe());
  const std::vector<Factor>& last = qkv.axes[2].factors;
  c.require(last.size() == 3 && last[0].role == FactorRole::Count && last[0].logical == 3 &&
                last[1].role == FactorRole::Count && last[2].role == FactorRole::Head,
            "the last axis of qkv must be 3 × heads × head, not " + qkv.axes[2].name);
}

// qkv (B, T, 3, H, D→Dp) -> y (B, T, H, D→Dp), lse (B, H, T)
void inferAttention(InferContext& c) {
  enum { kQkv, kLengths, kCounters, kStarts };
  const TensorSpec& qkv = c.input(kQkv);
  requirePacked(c, qkv);
  const std::vector<Factor>& last = qkv.axes[2].factors;
  if (c.has(kLengths)) {
    const TensorSpec& lengths = c.input(kLengths);
    c.require(lengths.axes.size() == 1 && lengths.axes[0].fits(qkv.axes[0]) && lengths.dtype == DType::I32,
              "lengths must be an int32 for each row of the batch, not " + lengths.describe());
  }
  if (c.has(kStarts)) requireStarts(c, c.input(kStarts), qkv);
  c.require(c.attributes().number("scale", 1) > 0, "scale must be greater than 0");
  const double dropout = c.attributes().number("dropout", 0);
  c.require(dropout >= 0 && dropout < 1,
            "dropout must be at least 0 and below 1, not " + std::to_string(dropout));
  c.require(dropout == 0 || c.has(kCounters), "dropout needs the counters of the model");
  const Axis width{"heads", {last[1], last[2]}};
  c.output(0, {{qkv.axes[0], qkv.axes[1], width}, qkv.dtype});
  c.output(1, {{qkv.axes[0], countAxis("heads", last[1].logical), qkv.axes[1]}, DType::F32});
}

void differentiateAttention(GradientContext& c) {
  enum { kQkv, kLengths, kCounters, kStarts };
  enum { kY, kLse };
  const auto out = c.emit("attention_backward",
                          {c.outputGradient(kY), c.input(kQkv), c.output(kY), c.output(kLse),
                           c.input(kLengths), c.input(kCounters), c.input(kStarts)},
                          c.attributes(), {kNew});
  c.flow(kQkv, out[0]);
}

void inferBackward(InferContext& c) {
  enum { kDy, kQkv };
  requirePacked(c, c.input(kQkv));
  c.output(0, c.input(kQkv));
}

// Pairs of a query and a key that it sees, were each row one document.
double pairsOf(const Extents& e, const Attributes& attributes) {
  const double time = static_cast<double>(e.time);
  return static_cast<double>(e.batch * e.heads) *
         (attributes.flag("causal") ? time * (time + 1) / 2 : time * time);
}

// Q Kᵀ and P V; an exponential, maximum and sum for each pair.
Cost forwardCost(const CallShape& c) {
  const Extents e = extentsOf(*c.inputs[0]);
  const double pairs = pairsOf(e, c.attributes);
  return {.matrixFlops = 4.0 * pairs * e.physicalHead, .vectorFlops = 16.0 * pairs};
}

// S = Q Kᵀ again, dP = dO Vᵀ, dV = Pᵀ dO, dQ = dS K, dK = dSᵀ Q.
Cost backwardCost(const CallShape& c) {
  const Extents e = extentsOf(*c.inputs[1]);
  const double pairs = pairsOf(e, c.attributes);
  return {.matrixFlops = 10.0 * pairs * e.physicalHead, .vectorFlops = 18.0 * pairs};
}

// "<operation>/<kernel>[_documents]"
KernelChoice kernelFor(const char* operation, const TensorSpec& qkv, bool documents) {
  return {std::string(operation) + (qkv.dtype == DType::F32 ? "/plain" : "/sm80") +
          (documents ? "_documents" : "")};
}

std::optional<KernelChoice> chooseForward(const CallShape& c, const Target& target) {
  enum { kQkv, kLengths, kCounters, kStarts };
  if (!target.isCuda()) return KernelChoice{"attention"};
  return kernelFor("attention", *c.inputs[kQkv], c.inputs[kStarts]);
}

std::optional<KernelChoice> chooseBackward(const CallShape& c, const Target& target) {
  enum { kDy, kQkv, kY, kLse, kLengths, kCounters, kStarts };
  if (!target.isCuda()) return KernelChoice{"attention_backward"};
  return kernelFor("attention_backward", *c.inputs[kQkv], c.inputs[kStarts]);
}

int64_t forwardWorkspace(const CallShape& c, const Target& target, const KernelChoice&) {
  if (target.isCuda()) return 0;
  return planAttention(c.inputs[0]->axes[1].physical()).forwardFloats * target.threads *
         static_cast<int64_t>(sizeof(float));
}

int64_t backwardWorkspace(const CallShape& c, const Target& target, const KernelChoice&) {
  if (target.isCuda()) {  // rowsum(dy ∘ y), a float for each query of each head
    const Extents e = extentsOf(*c.inputs[1]);
    return e.batch * e.heads * e.time * static_cast<int64_t>(sizeof(float));
  }
  return planAttention(c.inputs[1]->axes[1].physical()).backwardFloats * target.threads *
         static_cast<int64_t>(sizeof(float));
}

}  // namespace

void register_attention(OperationRegistry& registry) {
  // y = dropout(softmax(scale Q Kᵀ + mask)) V; lse is the logarithm of each softmax's denominator. Where
  // there are starts (B, T), a query sees the keys of its own document: those with the same start.
  registry.add({.name = "attention",
                .inputs = {"qkv", "lengths?", "counters?*", "starts?"},
                .outputs = {"y", "lse?"},
                .infer = inferAttention,
                .gradient = differentiateAttention,
                .cost = forwardCost,
                .choose = chooseForward,
                .workspace = forwardWorkspace});
  registry.add({.name = "attention_backward",
                .inputs = {"dy", "qkv", "y", "lse", "lengths?", "counters?*", "starts?"},
                .outputs = {"dqkv"},
                .infer = inferBackward,
                .cost = backwardCost,
                .choose = chooseBackward,
                .workspace = backwardWorkspace});
}

}  // namespace tesserae
