#include <math.h>

#include "ops/registry.h"
#include "ops/sampling.h"
#include "ops/vector_philox.h"

namespace tesserae::TESSERAE_ISA {

namespace {

constexpr int64_t kBlock = 128;  // token ids at a time: four words of a mask

// Natural logarithm of a positive x, given x - 1 too: near 1 the caller may know x - 1 more exactly than x
// holds it. Cephes' logf (Moshier 1992): log(m * 2^e) = e * log 2 + f - f²/2 + f³ * P(f), f = m - 1, m in
// [√½, √2).
__attribute__((always_inline)) inline float logarithm(float x, float xMinus1) {
  const int32_t bits = __builtin_bit_cast(int32_t, x);
  const int32_t exponent = (bits - 0x3f3504f3) >> 23;
  const float mantissa = __builtin_bit_cast(float, bits - exponent * (1 << 23));
  const float e = static_cast<float>(exponent), f = exponent == 0 ? xMinus1 : mantissa - 1.0f, z = f * f;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  return f + (f * z * p - 0.5f * z - 2.12194440e-4f * e) + 0.693359375f * e;
}

// -log(-log(1 - v)), v = (bits / 2 + ½) / 2^31 rounded to fp32 and kept below 1. That v and not u = 1 - v
// comes from the bits gives the upper tail, which picks improbable tokens, a resolution of 2^-32.
__attribute__((always_inline)) inline float gumbel(uint32_t bits) {
  const float uniform = (static_cast<float>(static_cast<int32_t>(bits >> 1)) + 0.5f) * 0x1p-31f;
  const float v = uniform < 0x1.fffffep-1f ? uniform : 0x1.fffffep-1f;
  const float exponential = -logarithm(1.0f - v, -v);
  return -logarithm(exponential, exponential - 1.0f);
}

// The id with the largest scores[v] + temperature * g_v: the same as of scores / temperature + g, and
// temperature 0 needs no case of its own. -1 when there is none.
int32_t chooseId(const float* logits, int64_t vocabulary, float temperature, float threshold, uint64_t key,
                 uint32_t step) {
  int32_t best = -1;
  float bestScore = -INFINITY;
  float noise[kBlock] = {}, scores[kBlock];
  for (int64_t first = 0; first < vocabulary; first += kBlock) {
    const int64_t count = vocabulary - first < kBlock ? vocabulary - first : kBlock;
    if (temperature > 0) {
      uint32_t words[kBlock];
      philoxWords(key, static_cast<uint32_t>(first / 4), 0, 0, step, kBlock, words);
#pragma omp simd
      for (int64_t i = 0; i < kBlock; ++i) noise[i] = gumbel(words[i]);
    }
    for (int64_t i = 0; i < kBlock; ++i) scores[i] = -INFINITY;
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const float score = logits[first + i];
      scores[i] = score >= threshold ? score + temperature * noise[i] : -INFINITY;
    }
    float maximum = -INFINITY;
#pragma omp simd reduction(max : maximum)
    for (int64_t i = 0; i < kBlock; ++i) maximum = scores[i] > maximum ? scores[i] : maximum;
    if (maximum > bestScore) {
      bestScore = maximum;
      int64_t i = 0;
      while (scores[i] != maximum) ++i;
      best = static_cast<int32_t>(first + i);
    }
  }
  return best;
}

void choose(const KernelContext& c) {
  const TensorView& scores = c.inputs[0];  // (B, V→Vp)
  const float *settings = c.inputs[1].f32(), *threshold = c.inputs[3].f32();
  const uint32_t* stops = c.inputs[2].u32();  // ({end, stop}, words)
  int32_t* picked = c.outputs[0].i32();
  int64_t* stream = c.outputs[1].i64();  // (B, {seed, drawn})
  int32_t *start = c.outputs[2].i32(), *lengths = c.outputs[3].i32(), *finished = c.outputs[4].i32();
  int32_t *next = c.outputs[5].i32(), *chosen = c.outputs[6].i32();
  const TensorView &counts = c.outputs[7], &history = c.outputs[8];
  const int64_t batch = scores.rows, vocabulary = scores.logicalColumns, words = c.inputs[2].columns;
  const int64_t capacity = c.attributes->integer("cache", 0);
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t b = 0; b < batch; ++b) {
    picked[b] = -1;
    if (finished[b] != kRunning) continue;
    const float* row = settings + b * kSettings;
    const int64_t drawn = stream[2 * b + 1];
    const int32_t token =
        chooseId(scores.f32() + b * scores.columns, vocabulary, row[kTemperature],
                 threshold ? threshold[b] : -INFINITY, static_cast<uint64_t>(stream[2 * b]) ^ c.site,
                 static_cast<uint32_t>(drawn));
    start[b] += lengths[b];
    lengths[b] = 0;
    if (token < 0) {
      finished[b] = kNoToken;
      continue;
    }
    picked[b] = next[b] = chosen[drawn % kMostVisit * batch + b] = token;
    stream[2 * b + 1] = drawn + 1;
    if (counts.data) counts.u32()[b * counts.columns + token] += 1;
    if (history.data && start[b] < history.columns) history.i32()[b * history.columns + start[b]] = token;
    finished[b] = stops[token / 32] >> token % 32 & 1                   ? kEndToken
                  : stops[words + token / 32] >> token % 32 & 1         ? kStopToken
                  : static_cast<float>(drawn + 1) >= row[kMaxNewTokens] ? kLength
                  : start[b] >= capacity                                ? kFull
                                                                        : kRunning;
    lengths[b] = finished[b] == kRunning ? 1 : 0;
  }
}

}  // namespace

void register_choose_cpu(KernelRegistry& registry) { registry.add("choose", choose); }

}  // namespace tesserae::TESSERAE_ISA
