#include <math.h>

#include "ops/filter_tokens/rule.h"
#include "ops/registry.h"
#include "ops/sampling.h"
#include "ops/vector_math.h"

namespace tesserae::TESSERAE_ISA {

namespace {

// The key at which the sum of `measure` over the keys from the largest down reaches `target`; 0 where it
// never does. A byte of the key at a time, by a histogram of those that agree with it so far.
template <class Measure>
uint32_t reach(const float* scores, int64_t n, uint64_t target, Measure measure) {
  uint32_t prefix = 0;
  uint64_t above = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    uint64_t bins[256] = {};
    for (int64_t i = 0; i < n; ++i) {
      if (!(scores[i] > -INFINITY)) continue;
      const uint32_t key = orderedKey(scores[i]);
      if (shift == 24 || key >> (shift + 8) == prefix >> (shift + 8))
        bins[key >> shift & 255] += measure(scores[i]);
    }
    int bin = 255;
    while (bin >= 0 && above + bins[bin] < target) above += bins[bin--];
    if (bin < 0) return 0;
    prefix |= static_cast<uint32_t>(bin) << shift;
  }
  return prefix;
}

float thresholdOf(const float* scores, int64_t n, const float* settings) {
  const float temperature = settings[kTemperature];
  float maximum = -INFINITY;
  for (int64_t i = 0; i < n; ++i) maximum = scores[i] > maximum ? scores[i] : maximum;
  if (temperature == 0 || maximum == -INFINITY) return -INFINITY;
  if (maximum == INFINITY) return INFINITY;
  float threshold = -INFINITY;
  if (settings[kTopK] >= 1) {
    const uint32_t key =
        reach(scores, n, static_cast<uint64_t>(settings[kTopK]), [](float) { return uint64_t{1}; });
    if (key > 0) threshold = fromOrderedKey(key);
  }
  if (settings[kTopP] < 1) {
    const auto weight = [&](float score) {
      if (score < threshold) return uint64_t{0};
      return static_cast<uint64_t>(vectorExp((score - maximum) / temperature) * kWeightOne);
    };
    uint64_t total = 0;
    for (int64_t i = 0; i < n; ++i) total += scores[i] > -INFINITY ? weight(scores[i]) : 0;
    const double share = static_cast<double>(settings[kTopP]) * static_cast<double>(total);
    const uint64_t target = share < 1 ? 1 : static_cast<uint64_t>(ceil(share));
    const uint32_t key = reach(scores, n, target, weight);
    if (key > 0 && fromOrderedKey(key) > threshold) threshold = fromOrderedKey(key);
  }
  if (settings[kMinP] > 0) {
    const float least = maximum + temperature * logf(settings[kMinP]);
    if (least > threshold) threshold = least;
  }
  return threshold;
}

void filterTokens(const KernelContext& c) {
  const TensorView& scores = c.inputs[0];  // (B, V→Vp)
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t b = 0; b < scores.rows; ++b) {
    c.outputs[0].f32()[b] = thresholdOf(scores.f32() + b * scores.columns, scores.logicalColumns,
                                        c.inputs[1].f32() + b * kSettings);
  }
}

}  // namespace

void register_filter_tokens_cpu(KernelRegistry& registry) { registry.add("filter_tokens", filterTokens); }

}  // namespace tesserae::TESSERAE_ISA
