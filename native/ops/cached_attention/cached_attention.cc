// Causal attention of new positions to a growing cache of keys and values, for inference.
#include <algorithm>

#include "ops/registry.h"
#include "ops/sampling.h"

namespace tesserae {

namespace {

constexpr int64_t kQueryBlock = 64;

enum { kQkv, kCache, kStart, kLengths, kQ, kKv };

// Queries, and keys and values, of the new positions: qkv (B, T, 3, H, D→Dp), or q (B, T, H, D→Dp) and kv (B,
// T, 2, G, D→Dp).
void requireOperands(InferContext& c) {
  const bool isPacked = c.has(kQkv);
  c.require(c.has(kQ) != isPacked && c.has(kKv) != isPacked,
            "cached_attention reads either qkv alone, or q and kv; name the inputs of one form");
  const TensorSpec &q = c.input(isPacked ? kQkv : kQ), &kv = c.input(isPacked ? kQkv : kKv);
  const size_t factorsOfQ = isPacked ? 3 : 2;
  const int64_t parts = isPacked ? 3 : 2;
  for (const TensorSpec* x : {&q, &kv}) {
    c.require(
        x->axes.size() == 3 && x->axes[2].factors.size() == (x == &kv ? 3 : factorsOfQ) &&
            x->axes[2].factors.back().role == FactorRole::Head,
        "the operands must be batch × time × ([3 or 2,] heads, features of a head), not " + x->describe());
  }
  const std::vector<Factor>&ofQ = q.axes[2].factors, &ofKv = kv.axes[2].factors;
  c.require(
      ofKv[0].logical == parts && ofQ.back() == ofKv[2] && ofQ[ofQ.size() - 2].logical % ofKv[1].logical == 0,
      "the heads of q and kv do not go together: " + q.describe() + ", " + kv.describe());
  c.require(q.axes[0].fits(kv.axes[0]) && q.axes[1].fits(kv.axes[1]),
            "q and kv must be of the same positions, not " + q.describe() + " and " + kv.describe());
}

void inferCachedAttention(InferContext& c) {
  requireOperands(c);
  const TensorSpec &q = c.input(c.has(kQkv) ? kQkv : kQ), &kv = c.input(c.has(kQkv) ? kQkv : kKv);
  const TensorSpec& cache = c.input(kCache);
  const std::vector<Factor>&ofQ = q.axes[2].factors, &ofKv = kv.axes[2].factors;
  const int64_t layer = c.attributes().integer("layer", 0);
  c.require(
      cache.axes.size() == 6 && cache.axes[1].physical() > layer && layer >= 0 &&
          cache.axes[2].physical() == 2 && cache.axes[3].fits(q.axes[0]) &&
          cache.axes[4].physical() == kPagePositions &&
          cache.axes[5].factors == std::vector<Factor>{ofKv[1], ofKv[2]} && cache.dtype == kv.dtype,
      "cache must be pages × layers × 2 × batch × positions of a page × (heads, features of a head) like "
      "the keys, not " +
          cache.describe());
  for (int vector : {kStart, kLengths}) {
    const TensorSpec& spec = c.input(vector);
    c.require(spec.axes.size() == 1 && spec.axes[0].fits(q.axes[0]) && spec.dtype == DType::I32,
              "start and lengths must be int32 with the batch axis of the queries, not " + spec.describe());
  }
  c.output(0, {{q.axes[0], q.axes[1], {"heads", {ofQ.end() - 2, ofQ.end()}}}, q.dtype});
  c.output(1, cache);
}

int64_t positionsOf(const TensorSpec& cache) { return cache.axes[0].physical() * kPagePositions; }

// Counted for a full cache: this layer's keys and values are read, and new ones are written.
Cost cachedAttentionCost(const CallShape& c) {
  const TensorSpec &y = *c.outputs[0], &cache = *c.outputs[1];
  const double positions = static_cast<double>(positionsOf(cache));
  const double heads = static_cast<double>(y.axes[2].factors[0].physical);
  const double queries = static_cast<double>(y.axes[0].physical() * y.axes[1].physical());
  const double layers = static_cast<double>(cache.axes[1].physical());
  const double whole = static_cast<double>(cache.bytes());
  const double fresh = queries * cache.axes[5].physical() * dtypeSize(cache.dtype);
  return {.matrixFlops = 4.0 * y.physicalElements() * positions,
          .vectorFlops = 12.0 * queries * heads * positions,
          .extraBytes = whole / layers + 2.0 * fresh - 2.0 * whole};
}

std::optional<KernelChoice> chooseKernel(const CallShape& c, const Target& target) {
  if (!target.isCuda()) return KernelChoice{"cached_attention"};
  const TensorSpec& y = *c.outputs[0];
  if (y.axes[1].physical() == 1) return KernelChoice{"cached_attention/step"};
  return KernelChoice{y.dtype == DType::F32 ? "cached_attention/prompt" : "cached_attention/sm80_prompt"};
}

// Scores of a block of queries against the whole cache, for each thread.
int64_t cachedAttentionWorkspace(const CallShape& c, const Target& target, const KernelChoice&) {
  if (target.isCuda()) return 0;
  const int64_t time = c.outputs[0]->axes[1].physical();
  return target.threads * std::min(time, kQueryBlock) * positionsOf(*c.inputs[kCache]) *
         static_cast<int64_t>(sizeof(float));
}

}  // namespace

void register_cached_attention(OperationRegistry& registry) {
  // Row b appends the keys and values of its lengths[b] new positions at start[b]; its position t attends to
  // the positions up to start[b] + t. Positions from lengths[b] on are zero. The attribute `layer` selects a
  // part of the cache. Operands and grouped heads are as in attention. The results of a row do not depend on
  // the number of rows.
  registry.add({.name = "cached_attention",
                .inputs = {"qkv?", "cache*", "start", "lengths", "q?", "kv?"},
                .outputs = {"y", "cache*"},
                .infer = inferCachedAttention,
                .cost = cachedAttentionCost,
                .choose = chooseKernel,
                .workspace = cachedAttentionWorkspace});
}

}  // namespace tesserae
