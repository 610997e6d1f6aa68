#include <math.h>

#include "ops/registry.h"
#include "ops/score_tokens/rule.h"

namespace tesserae::TESSERAE_ISA {

namespace {

void scoreTokens(const KernelContext& c) {
  const TensorView& logits = c.inputs[0];  // (B, V→Vp)
  const float* settings = c.inputs[1].f32();
  const int64_t* stream = c.inputs[2].i64();
  const int32_t *start = c.inputs[3].i32(), *lengths = c.inputs[4].i32(), *setAt = c.inputs[7].i32();
  const TensorView &mask = c.inputs[6], &sets = c.inputs[8], &stops = c.inputs[9], &counts = c.inputs[10],
                   &history = c.inputs[11];
  const int64_t vocabulary = logits.logicalColumns;
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t b = 0; b < logits.rows; ++b) {
    const float *row = settings + b * kSettings, *from = logits.f32() + b * logits.columns;
    float* to = c.outputs[0].f32() + b * logits.columns;
    const int64_t position = start[b] + lengths[b];
    const int32_t set =
        setAt && position < c.inputs[7].columns ? setAt[b * c.inputs[7].columns + position] : -1;
    const bool early = stops.data && static_cast<float>(stream[2 * b + 1]) < row[kMinNewTokens];
    const ScoreTables tables{row,
                             c.inputs[5].f32(),
                             mask.data ? mask.u32() + b * mask.columns : nullptr,
                             set >= 0 ? sets.u32() + set * sets.columns : nullptr,
                             early ? stops.u32() : nullptr,
                             early ? stops.u32() + stops.columns : nullptr,
                             counts.data ? counts.u32() + b * counts.columns : nullptr};
    for (int64_t id = 0; id < vocabulary; ++id) to[id] = scoreOf(tables, id, from[id]);
    for (int64_t id = vocabulary; id < logits.columns; ++id) to[id] = -INFINITY;
    const int64_t n = static_cast<int64_t>(row[kNgramSize]);
    if (!history.data || n < 1) continue;
    const int32_t* tokens = history.i32() + b * history.columns;
    for (int64_t at = 0; at + n <= position; ++at) {
      const int32_t token = tokens[at + n - 1];
      if (token >= 0 && token < vocabulary && repeatsNgram(tokens, position, n, at)) to[token] = -INFINITY;
    }
  }
}

}  // namespace

void register_score_tokens_cpu(KernelRegistry& registry) { registry.add("score_tokens", scoreTokens); }

}  // namespace tesserae::TESSERAE_ISA
