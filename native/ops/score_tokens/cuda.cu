#include <cmath>

#include "ops/cuda_support.cuh"
#include "ops/registry.h"
#include "ops/score_tokens/rule.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;

struct Tables {
  const float *settings, *bias;
  const uint32_t *mask, *sets, *stops, *counts;
  const int32_t *setAt, *history;
  const int64_t* stream;
  const int32_t *start, *lengths;
  int64_t columns, words, positions;  // positions: of setAt and of a row of the history
  int32_t vocabulary;
};

__global__ void __launch_bounds__(kThreads) scoreKernel(const float* logits, float* scores, Tables t) {
  const int64_t b = blockIdx.y, id = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (id >= t.columns) return;
  const float* row = t.settings + b * kSettings;
  const int64_t position = t.start[b] + t.lengths[b];
  const int32_t set = t.setAt && position < t.positions ? t.setAt[b * t.positions + position] : -1;
  const bool early = t.stops && static_cast<float>(t.stream[2 * b + 1]) < row[kMinNewTokens];
  const ScoreTables tables{row,
                           t.bias,
                           t.mask ? t.mask + b * t.words : nullptr,
                           set >= 0 ? t.sets + set * t.words : nullptr,
                           early ? t.stops : nullptr,
                           early ? t.stops + t.words : nullptr,
                           t.counts ? t.counts + b * t.columns : nullptr};
  const int64_t at = b * t.columns + id;
  scores[at] = id < t.vocabulary ? scoreOf(tables, id, logits[at]) : -INFINITY;
}

// A block a row; a thread takes every kThreads-th place of the history.
__global__ void __launch_bounds__(kThreads) ngramKernel(float* scores, Tables t) {
  const int64_t b = blockIdx.x, n = static_cast<int64_t>(t.settings[b * kSettings + kNgramSize]);
  if (n < 1) return;
  const int32_t* tokens = t.history + b * t.positions;
  const int64_t position = t.start[b] + t.lengths[b];
  for (int64_t at = threadIdx.x; at + n <= position; at += kThreads) {
    const int32_t token = tokens[at + n - 1];
    if (token >= 0 && token < t.vocabulary && repeatsNgram(tokens, position, n, at))
      scores[b * t.columns + token] = -INFINITY;
  }
}

void scoreTokens(const KernelContext& c) {
  const TensorView &logits = c.inputs[0], &scores = c.outputs[0];  // (B, V→Vp)
  const TensorView &setAt = c.inputs[7], &history = c.inputs[11];
  requireTypes("score_tokens", DType::F32, {&logits, &scores});
  const Tables tables{c.inputs[1].f32(),
                      c.inputs[5].f32(),
                      c.inputs[6].u32(),
                      c.inputs[8].u32(),
                      c.inputs[9].u32(),
                      c.inputs[10].u32(),
                      setAt.i32(),
                      history.i32(),
                      c.inputs[2].i64(),
                      c.inputs[3].i32(),
                      c.inputs[4].i32(),
                      logits.columns,
                      maskWords(logits.logicalColumns),
                      history.data ? history.columns : setAt.columns,
                      static_cast<int32_t>(logits.logicalColumns)};
  const dim3 grid(static_cast<unsigned>(divideUp(logits.columns, kThreads)),
                  static_cast<unsigned>(logits.rows));
  scoreKernel<<<grid, kThreads, 0, cudaStream(c)>>>(logits.f32(), scores.f32(), tables);
  cudaCheckLaunch("score_tokens");
  if (!history.data) return;
  ngramKernel<<<static_cast<unsigned>(logits.rows), kThreads, 0, cudaStream(c)>>>(scores.f32(), tables);
  cudaCheckLaunch("score_tokens");
}

}  // namespace

void register_score_tokens_cuda(KernelRegistry& registry) { registry.add("score_tokens", scoreTokens); }

}  // namespace tesserae
