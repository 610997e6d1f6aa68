#include <math.h>

#include "ops/registry.h"
#include "ops/sampling.h"
#include "ops/vector_math.h"

namespace tesserae::TESSERAE_ISA {

namespace {

void tokenLogProbs(const KernelContext& c) {
  const TensorView& logits = c.inputs[0];  // (B, V→Vp)
  const int32_t* picked = c.inputs[1].i32();
  const int64_t* stream = c.inputs[2].i64();  // (B, {seed, drawn})
  const TensorView& tokens = c.outputs[1];    // (visit, B, likeliest)
  const int64_t batch = logits.rows, likeliest = tokens.data ? tokens.columns : 0;
  const bool asTheyAre = c.attributes->flag("asTheyAre");
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t b = 0; b < batch; ++b) {
    if (picked[b] < 0) continue;
    const float* row = logits.f32() + b * logits.columns;
    float maximum = -INFINITY, total = 0;
    for (int64_t id = 0; id < logits.logicalColumns; ++id) maximum = row[id] > maximum ? row[id] : maximum;
#pragma omp simd reduction(+ : total)
    for (int64_t id = 0; id < logits.logicalColumns; ++id) total += vectorExp(row[id] - maximum);
    const float shift = asTheyAre ? 0.0f : maximum + logf(total);
    const int64_t place = (stream[2 * b + 1] - 1) % kMostVisit * batch + b;
    c.outputs[0].f32()[place] = row[picked[b]] - shift;
    float last = INFINITY;
    int64_t lastId = -1;
    for (int64_t k = 0; k < likeliest; ++k) {
      float best = -INFINITY;
      int64_t bestId = -1;
      for (int64_t id = 0; id < logits.logicalColumns; ++id) {
        const bool left = row[id] < last || (row[id] == last && id > lastId);
        if (left && (bestId < 0 || row[id] > best)) {
          best = row[id];
          bestId = id;
        }
      }
      tokens.i32()[place * likeliest + k] = static_cast<int32_t>(bestId);
      c.outputs[2].f32()[place * likeliest + k] = best - shift;
      last = best;
      lastId = bestId;
    }
  }
}

}  // namespace

void register_token_log_probs_cpu(KernelRegistry& registry) {
  registry.add("token_log_probs", tokenLogProbs);
}

}  // namespace tesserae::TESSERAE_ISA
