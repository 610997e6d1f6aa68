// Causal attention of new positions to a growing cache of keys and values, for inference.
#include <algorithm>

#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int64_t kQueryBlock = 64;

void inferCachedAttention(InferContext& c) {
  enum { kQkv, kKeys, kValues, kStart, kLengths };
  const TensorSpec &qkv = c.input(kQkv), &keys = c.input(kKeys), &values = c.input(kValues);
  c.require(qkv.axes.size() == 3 && qkv.axes[2].factors.size() == 3 && qkv.axes[2].factors[0].logical == 3 &&
                qkv.axes[2].factors[2].role == FactorRole::Head,
            "qkv must be batch × time × (3, heads, features of a head), not " + qkv.describe());
  const std::vector<Factor>& packed = qkv.axes[2].factors;
  c.require(keys.axes.size() == 3 && keys.axes[0].fits(qkv.axes[0]) &&
                keys.axes[2].factors == std::vector<Factor>{packed[1], packed[2]} && keys.dtype == qkv.dtype,
            "keys must be batch × positions × (heads, features of a head) like qkv, not " + keys.describe());
  c.require(fits(values.axes, keys.axes) && values.dtype == keys.dtype,
            "values must have the shape of keys, not " + values.describe());
  for (int vector : {kStart, kLengths}) {
    const TensorSpec& spec = c.input(vector);
    c.require(spec.axes.size() == 1 && spec.axes[0].fits(qkv.axes[0]) && spec.dtype == DType::I32,
              "start and lengths must be int32 with the batch axis of qkv, not " + spec.describe());
  }
  c.output(0, {{qkv.axes[0], qkv.axes[1], keys.axes[2]}, qkv.dtype});
  c.output(1, keys);
  c.output(2, values);
}

// Counted for a full cache. The new keys and values are written, not the whole cache.
Cost cachedAttentionCost(const CallShape& c) {
  const TensorSpec &y = *c.outputs[0], &keys = *c.outputs[1];
  const double positions = static_cast<double>(keys.axes[1].physical());
  const double heads = static_cast<double>(keys.axes[2].factors[0].physical);
  const double queries = static_cast<double>(y.axes[0].physical() * y.axes[1].physical());
  return {.matrixFlops = 4.0 * y.physicalElements() * positions,
          .vectorFlops = 12.0 * queries * heads * positions,
          .extraBytes = 2.0 * static_cast<double>(y.bytes() - keys.bytes())};
}

// Scores of a block of queries against the whole cache, for each thread.
int64_t cachedAttentionWorkspace(const CallShape& c, DeviceKind device, int threads) {
  if (device != DeviceKind::CPU) return 0;
  const int64_t time = c.inputs[0]->axes[1].physical(), positions = c.inputs[1]->axes[1].physical();
  return threads * std::min(time, kQueryBlock) * positions * static_cast<int64_t>(sizeof(float));
}

}  // namespace

void register_cached_attention(OperationRegistry& registry) {
  // Row b appends the keys and values of its lengths[b] new positions at start[b]; its position t attends to
  // the cache's positions up to start[b] + t. Positions from lengths[b] on are zero.
  registry.add({.name = "cached_attention",
                .inputs = {"qkv", "keys*", "values*", "start", "lengths"},
                .outputs = {"y", "keys*", "values*"},
                .infer = inferCachedAttention,
                .cost = cachedAttentionCost,
                .workspace = cachedAttentionWorkspace});
}

}  // namespace tesserae
