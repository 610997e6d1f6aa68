#include <math.h>

#include "ops/registry.h"
#include "ops/vector_philox.h"

namespace tesserae::TESSERAE_ISA {

namespace {

constexpr int64_t kBlock = 128;  // token ids at a time: four words of a mask

// Natural logarithm of a positive x, given x - 1 too: near 1 the caller may know it better than x holds it.
// Cephes' logf (Moshier 1992): log(m * 2^e) = e * log 2 + f - f²/2 + f³ * P(f), f = m - 1, m in [√½, √2).
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

// The id with the largest logits[v] + temperature * g_v: the same as of logits / temperature + g, and
// temperature 0 needs no case of its own. -1 when no id is allowed.
int32_t chooseId(const float* logits, int64_t vocabulary, float temperature, const uint32_t* mask,
                 uint64_t key, uint32_t step) {
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
    for (int64_t i = 0; i < count; ++i) scores[i] = logits[first + i] + temperature * noise[i];
    if (mask) {
      for (int64_t word = 0; 32 * word < count; ++word) {
        const uint32_t allowed = mask[first / 32 + word];
        float* masked = scores + 32 * word;
#pragma omp simd
        for (int32_t bit = 0; bit < 32; ++bit) masked[bit] = allowed >> bit & 1 ? masked[bit] : -INFINITY;
      }
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
  const TensorView& logits = c.inputs[0];  // (B, V→Vp)
  const float* temperature = c.inputs[1].f32();
  const TensorView& mask = c.inputs[5];  // (B, ⌈V/32⌉)
  int32_t* next = c.outputs[0].i32();
  int64_t* stream = c.outputs[1].i64();  // (B, {seed, step})
  int32_t* start = c.outputs[2].i32();
  int32_t* lengths = c.outputs[3].i32();
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t b = 0; b < logits.rows; ++b) {
    next[b] =
        chooseId(logits.f32() + b * logits.columns, logits.logicalColumns, temperature[b],
                 mask.data ? mask.u32() + b * mask.columns : nullptr,
                 static_cast<uint64_t>(stream[2 * b]) ^ c.site, static_cast<uint32_t>(stream[2 * b + 1]));
    stream[2 * b + 1] += 1;
    start[b] += lengths[b];
    lengths[b] = 1;
  }
}

}  // namespace

void register_choose_cpu(KernelRegistry& registry) { registry.add("choose", choose); }

}  // namespace tesserae::TESSERAE_ISA
