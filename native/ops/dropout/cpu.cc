#include <math.h>

#include "ops/attributes.h"
#include "ops/registry.h"
#include "ops/state.h"
#include "ops/vector_philox.h"

namespace tesserae::TESSERAE_ISA {

namespace {

constexpr int64_t kBlock = 1024;  // columns whose random words are drawn at a time

// y = x / (1 - p) where the element's random number is at least p, else 0. Padding lanes of x are zero: so
// are y's.
void dropout(const KernelContext& c) {
  const TensorView& x = c.inputs[0];  // (B, ..., C)
  const Counters& counters = *c.inputs[1].as<Counters>();
  float* y = c.outputs[0].f32();
  const int64_t columns = x.columns;
  const int64_t rowsOfSample = x.rows / x.factors[0].physical;
  const double p = c.attributes->number("p");
  const float scale = static_cast<float>(1 / (1 - p));
  // uniform01(bits) >= p, compared exactly: in units of its 24 bits.
  const uint32_t threshold = static_cast<uint32_t>(ceil(p * 16777216.0));
  const uint64_t key = static_cast<uint64_t>(counters.seed) ^ c.site;
  const uint32_t attempted = static_cast<uint32_t>(counters.attempted);
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t row = 0; row < x.rows; ++row) {
    const float* in = x.f32() + row * columns;
    float* out = y + row * columns;
    const uint32_t rowInSample = static_cast<uint32_t>(row % rowsOfSample);
    const uint32_t sample = static_cast<uint32_t>(counters.firstSample + row / rowsOfSample);
    uint32_t words[kBlock];
    for (int64_t first = 0; first < columns; first += kBlock) {
      const int64_t count = columns - first < kBlock ? columns - first : kBlock;
      const int64_t rounded = (count + kPhiloxWords - 1) / kPhiloxWords * kPhiloxWords;
      philoxWords(key, static_cast<uint32_t>(first / 4), rowInSample, sample, attempted, rounded, words);
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) {
        out[first + i] = in[first + i] * (words[i] >> 8 >= threshold ? scale : 0.0f);
      }
    }
  }
}

}  // namespace

void register_dropout_cpu(KernelRegistry& registry) { registry.add("dropout", dropout); }

}  // namespace tesserae::TESSERAE_ISA
