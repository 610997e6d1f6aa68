// Causal attention of new positions to a growing cache of keys and values, for inference.
#include <algorithm>

#include "ops/registry.h"
#include "ops/sampling.h"

namespace tesserae {

namespace {

constexpr int64_t kQueryBlock = 64;

void inferCachedAttention(InferContext& c) {
  enum { kQkv, kCache, kStart, kLengths };
  const TensorSpec &qkv = c.input(kQkv), &cache = c.input(kCache);
  c.require(qkv.axes.size() == 3 && qkv.axes[2].factors.size() == 3 && qkv.axes[2].factors[0].logical == 3 &&
                qkv.axes[2].factors[2].role == FactorRole::Head,
            "qkv must be batch × time × (3, heads, features of a head), not " + qkv.describe());
  const std::vector<Factor>& packed = qkv.axes[2].factors;
  const int64_t layer = c.attributes().integer("layer", 0);
  c.require(
      cache.axes.size() == 6 && cache.axes[1].physical() > layer && layer >= 0 &&
          cache.axes[2].physical() == 2 && cache.axes[3].fits(qkv.axes[0]) &&
          cache.axes[4].physical() == kPagePositions &&
          cache.axes[5].factors == std::vector<Factor>{packed[1], packed[2]} && cache.dtype == qkv.dtype,
      "cache must be pages × layers × 2 × batch × positions of a page × (heads, features of a head) like "
      "qkv, not " +
          cache.describe());
  for (int vector : {kStart, kLengths}) {
    const TensorSpec& spec = c.input(vector);
    c.require(spec.axes.size() == 1 && spec.axes[0].fits(qkv.axes[0]) && spec.dtype == DType::I32,
              "start and lengths must be int32 with the batch axis of qkv, not " + spec.describe());
  }
  c.output(0, {{qkv.axes[0], qkv.axes[1], cache.axes[5]}, qkv.dtype});
  c.output(1, cache);
}

int64_t positionsOf(const TensorSpec& cache) { return cache.axes[0].physical() * kPagePositions; }

// Counted for a full cache. Of the cache, keys and values of this layer are read, new ones are written.
Cost cachedAttentionCost(const CallShape& c) {
  const TensorSpec &y = *c.outputs[0], &cache = *c.outputs[1];
  const double positions = static_cast<double>(positionsOf(cache));
  const double heads = static_cast<double>(cache.axes[5].factors[0].physical);
  const double queries = static_cast<double>(y.axes[0].physical() * y.axes[1].physical());
  const double layers = static_cast<double>(cache.axes[1].physical());
  const double whole = static_cast<double>(cache.bytes()), fresh = static_cast<double>(y.bytes());
  return {.matrixFlops = 4.0 * y.physicalElements() * positions,
          .vectorFlops = 12.0 * queries * heads * positions,
          .extraBytes = whole / layers + 2.0 * fresh - 2.0 * whole};
}

std::optional<KernelChoice> chooseKernel(const CallShape& c, const Target& target) {
  if (!target.isCuda()) return KernelChoice{"cached_attention"};
  const TensorSpec& qkv = *c.inputs[0];
  if (qkv.axes[1].physical() == 1) return KernelChoice{"cached_attention/step"};
  return KernelChoice{qkv.dtype == DType::F32 ? "cached_attention/prompt" : "cached_attention/sm80_prompt"};
}

// Scores of a block of queries against the whole cache, for each thread.
int64_t cachedAttentionWorkspace(const CallShape& c, const Target& target, const KernelChoice&) {
  if (target.isCuda()) return 0;
  const int64_t time = c.inputs[0]->axes[1].physical();
  return target.threads * std::min(time, kQueryBlock) * positionsOf(*c.inputs[1]) *
         static_cast<int64_t>(sizeof(float));
}

}  // namespace

void register_cached_attention(OperationRegistry& registry) {
  // Row b appends the keys and values of its lengths[b] new positions at start[b]; its position t attends to
  // the positions up to start[b] + t. Positions from lengths[b] on are zero. The attribute `layer` says whose
  // part of the cache. No row's results depend on how many there are.
  registry.add({.name = "cached_attention",
                .inputs = {"qkv", "cache*", "start", "lengths"},
                .outputs = {"y", "cache*"},
                .infer = inferCachedAttention,
                .cost = cachedAttentionCost,
                .choose = chooseKernel,
                .workspace = cachedAttentionWorkspace});
}

}  // namespace tesserae
