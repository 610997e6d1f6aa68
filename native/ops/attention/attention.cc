// Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1) of queries, keys and values in one
// tensor, or of queries in one and keys and values in another. Heads of keys may each serve a group of heads
// of queries (Ainslie et al. 2023).
#include <algorithm>
#include <string>

#include "ops/attention/plan.h"
#include "ops/positions.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

// Slots of the forward and of the backward call.
namespace forward {
enum { kQkv, kLengths, kCounters, kStarts, kQ, kKv, kKeyBegin, kKeyEnd };
}
namespace backward {
enum { kDy, kQkv, kY, kLse, kLengths, kCounters, kStarts, kQ, kKv, kKeyBegin, kKeyEnd };
}

struct Extents {
  int64_t batch, queries, keys, heads, physicalHead;
};

Extents extentsOf(const TensorSpec* qkv, const TensorSpec* q, const TensorSpec* kv) {
  const Axes &queries = (qkv ? qkv : q)->axes, &keys = (qkv ? qkv : kv)->axes;
  const std::vector<Factor>& last = queries[2].factors;  // ([3,] heads, head)
  return {queries[0].physical(), queries[1].physical(), keys[1].physical(), last[last.size() - 2].logical,
          last.back().physical};
}

// Rejects what is not (batch, time, [parts ·] heads · head).
void requireHeads(InferContext& c, const TensorSpec& x, const std::string& slot, int64_t parts) {
  const std::string last = (parts > 1 ? std::to_string(parts) + " · " : "") + "heads · head";
  c.require(x.axes.size() == 3 && x.axes[0].factors.size() == 1 && x.axes[1].factors.size() == 1,
            slot + " must have the axes (batch, time, " + last + "), not " + x.describe());
  const std::vector<Factor>& factors = x.axes[2].factors;
  const size_t most = parts > 1 ? 3 : 2;
  c.require(factors.size() == most && (parts == 1 || factors[0] == countAxis("", parts).factors[0]) &&
                factors[most - 2].role == FactorRole::Count && factors[most - 1].role == FactorRole::Head,
            "the last axis of " + slot + " must have the factors " + last + ", and the axis '" +
                x.axes[2].name + "' does not");
}

void requireOperands(InferContext& c, int qkv, int q, int kv) {
  const bool isPacked = c.has(qkv) && !c.has(q) && !c.has(kv);
  c.require(isPacked || (!c.has(qkv) && c.has(q) && c.has(kv)),
            "attention reads either qkv alone, or q and kv; name the inputs of one form");
  if (isPacked) return requireHeads(c, c.input(qkv), "qkv", 3);
  requireHeads(c, c.input(q), "q", 1);
  requireHeads(c, c.input(kv), "kv", 2);
  const Axes &queries = c.input(q).axes, &keys = c.input(kv).axes;
  c.require(queries[0].fits(keys[0]), "q and kv must have the same batch, not " + c.input(q).describe() +
                                          " and " + c.input(kv).describe());
  const std::vector<Factor>&ofQ = queries[2].factors, &ofKv = keys[2].factors;
  c.require(ofQ[1] == ofKv[2], "heads of q and kv must have the same size, not " +
                                   std::to_string(ofQ[1].logical) + " and " +
                                   std::to_string(ofKv[2].logical));
  c.require(ofQ[0].logical % ofKv[1].logical == 0, "q has " + std::to_string(ofQ[0].logical) +
                                                       " heads, which must be a multiple of the " +
                                                       std::to_string(ofKv[1].logical) + " heads of kv");
}

// qkv (B, T, 3, H, D→Dp), or q (B, Tq, H, D→Dp) and kv (B, Tk, 2, G, D→Dp) -> y (B, Tq, H, D→Dp), lse (B, H,
// Tq)
void inferAttention(InferContext& c) {
  using namespace forward;
  requireOperands(c, kQkv, kQ, kKv);
  const bool isPacked = c.has(kQkv);
  const TensorSpec& q = c.input(isPacked ? kQkv : kQ);
  if (c.has(kLengths)) {
    const TensorSpec& lengths = c.input(kLengths);
    c.require(lengths.axes.size() == 1 && lengths.axes[0].fits(q.axes[0]) && lengths.dtype == DType::I32,
              "lengths must be an int32 for each row of the batch, not " + lengths.describe());
  }
  c.require(isPacked || !c.has(kStarts), "starts are for qkv; with q and kv use keyBegin and keyEnd");
  c.require(!isPacked || (!c.has(kKeyBegin) && !c.has(kKeyEnd)),
            "keyBegin and keyEnd are for q and kv; with qkv use starts");
  if (c.has(kStarts)) requirePositions(c, "starts", c.input(kStarts), q);
  if (c.has(kKeyBegin)) requirePositions(c, "keyBegin", c.input(kKeyBegin), q);
  if (c.has(kKeyEnd)) requirePositions(c, "keyEnd", c.input(kKeyEnd), q);
  c.require(c.attributes().number("scale", 1) > 0, "scale must be greater than 0");
  const double dropout = c.attributes().number("dropout", 0);
  c.require(dropout >= 0 && dropout < 1,
            "dropout must be at least 0 and below 1, not " + std::to_string(dropout));
  c.require(dropout == 0 || c.has(kCounters), "dropout needs the counters of the model");
  const std::vector<Factor>& last = q.axes[2].factors;
  const Axis width{"heads", {last.end() - 2, last.end()}};
  c.output(0, {{q.axes[0], q.axes[1], width}, q.dtype});
  c.output(1, {{q.axes[0], countAxis("heads", width.factors[0].logical), q.axes[1]}, DType::F32});
}

void differentiateAttention(GradientContext& c) {
  using namespace forward;
  enum { kY, kLse };
  const auto out = c.emit(
      "attention_backward",
      {c.outputGradient(kY), c.input(kQkv), c.output(kY), c.output(kLse), c.input(kLengths),
       c.input(kCounters), c.input(kStarts), c.input(kQ), c.input(kKv), c.input(kKeyBegin), c.input(kKeyEnd)},
      c.attributes(), {kNew, kNew, kNew});
  c.flow(kQkv, out[0]);
  c.flow(kQ, out[1]);
  c.flow(kKv, out[2]);
}

void inferBackward(InferContext& c) {
  using namespace backward;
  requireOperands(c, kQkv, kQ, kKv);
  if (c.has(kQkv)) return c.output(0, c.input(kQkv));
  c.output(1, c.input(kQ));
  c.output(2, c.input(kKv));
}

// Pairs of a query and a key that it sees, as if each row were one document. Causal queries are aligned with
// the last keys, so the last query sees all of them.
double pairsOf(const Extents& e, const Attributes& attributes) {
  const double keys = static_cast<double>(e.keys), queries = static_cast<double>(e.queries);
  const double both = std::min(keys, queries);
  return static_cast<double>(e.batch * e.heads) *
         (attributes.flag("causal") ? both * (both + 1) / 2 + both * (keys - both) : queries * keys);
}

// Q Kᵀ and P V; an exponential, maximum and sum for each pair.
Cost forwardCost(const CallShape& c) {
  using namespace forward;
  const Extents e = extentsOf(c.inputs[kQkv], c.inputs[kQ], c.inputs[kKv]);
  const double pairs = pairsOf(e, c.attributes);
  return {.matrixFlops = 4.0 * pairs * e.physicalHead, .vectorFlops = 16.0 * pairs};
}

// S = Q Kᵀ again, dP = dO Vᵀ, dV = Pᵀ dO, dQ = dS K, dK = dSᵀ Q.
Cost backwardCost(const CallShape& c) {
  using namespace backward;
  const Extents e = extentsOf(c.inputs[kQkv], c.inputs[kQ], c.inputs[kKv]);
  const double pairs = pairsOf(e, c.attributes);
  return {.matrixFlops = 10.0 * pairs * e.physicalHead, .vectorFlops = 18.0 * pairs};
}

// The tensor-core kernels take 16-bit types, and ranges of keys only as starts of documents. The plain kernel
// takes every call.
KernelChoice cudaKernelFor(const std::string& operation, DType type, bool isPacked, bool hasStarts,
                           bool hasRanges) {
  if (type == DType::F32 || hasRanges) return {operation + "/plain"};
  if (!isPacked) return {operation + "/sm80_strided"};
  return {operation + (hasStarts ? "/sm80_documents" : "/sm80")};
}

std::optional<KernelChoice> chooseForward(const CallShape& c, const Target& target) {
  using namespace forward;
  if (!target.isCuda()) return KernelChoice{"attention"};
  return cudaKernelFor("attention", c.outputs[0]->dtype, c.inputs[kQkv], c.inputs[kStarts],
                       c.inputs[kKeyBegin] || c.inputs[kKeyEnd]);
}

std::optional<KernelChoice> chooseBackward(const CallShape& c, const Target& target) {
  using namespace backward;
  if (!target.isCuda()) return KernelChoice{"attention_backward"};
  return cudaKernelFor("attention_backward", c.inputs[kDy]->dtype, c.inputs[kQkv], c.inputs[kStarts],
                       c.inputs[kKeyBegin] || c.inputs[kKeyEnd]);
}

int64_t forwardWorkspace(const CallShape& c, const Target& target, const KernelChoice&) {
  using namespace forward;
  if (target.isCuda()) return 0;
  const Extents e = extentsOf(c.inputs[kQkv], c.inputs[kQ], c.inputs[kKv]);
  return planAttention(e.keys).forwardFloats * target.threads * static_cast<int64_t>(sizeof(float));
}

int64_t backwardWorkspace(const CallShape& c, const Target& target, const KernelChoice&) {
  using namespace backward;
  const Extents e = extentsOf(c.inputs[kQkv], c.inputs[kQ], c.inputs[kKv]);
  if (target.isCuda()) {  // rowsum(dy ∘ y), a float for each query of each head
    return e.batch * e.heads * e.queries * static_cast<int64_t>(sizeof(float));
  }
  return planAttention(e.keys).backwardFloats * target.threads * static_cast<int64_t>(sizeof(float));
}

}  // namespace

void register_attention(OperationRegistry& registry) {
  // y = dropout(softmax(scale Q Kᵀ + mask)) V; lse is the logarithm of each softmax's denominator. A query
  // sees the keys j that satisfy all of
  //   causal: j ≤ i + Tk - Tq for query i, so that the last query sees the last key
  //   lengths (B): j < length of the row; queries of qkv from the length on see nothing
  //   starts (B, T), of qkv: query and key have the same one, that of their document
  //   keyBegin and keyEnd (B, Tq), of q and kv: keyBegin ≤ j < keyEnd of the query
  // A query that sees no key gives zeros and no gradient. Head h of q reads head h / (H / G) of kv.
  registry.add({.name = "attention",
                .inputs = {"qkv?", "lengths?", "counters?*", "starts?", "q?", "kv?", "keyBegin?", "keyEnd?"},
                .outputs = {"y", "lse?"},
                .infer = inferAttention,
                .gradient = differentiateAttention,
                .cost = forwardCost,
                .choose = chooseForward,
                .workspace = forwardWorkspace});
  registry.add({.name = "attention_backward",
                .inputs = {"dy", "qkv?", "y", "lse", "lengths?", "counters?*", "starts?", "q?", "kv?",
                           "keyBegin?", "keyEnd?"},
                .outputs = {"dqkv?", "dq?", "dkv?"},
                .infer = inferBackward,
                .cost = backwardCost,
                .choose = chooseBackward,
                .workspace = backwardWorkspace});
}

}  // namespace tesserae
