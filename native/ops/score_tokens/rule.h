// The arithmetic of score_tokens, for the kernels of both devices.
#pragma once

#include <cstdint>

#include "ops/sampling.h"
#include "runtime/philox.h"

namespace tesserae {

// What is known of one row; null: nothing.
struct ScoreTables {
  const float* settings;
  const float* bias;
  const uint32_t *mask, *set;              // allowed
  const uint32_t *endTokens, *stopTokens;  // null once they are allowed
  const uint32_t* counts;
};

__attribute__((always_inline)) TESSERAE_ANYWHERE static inline bool hasBit(const uint32_t* words,
                                                                           int64_t id) {
  return words[id / 32] >> id % 32 & 1;
}

__attribute__((always_inline)) TESSERAE_ANYWHERE static inline float scoreOf(const ScoreTables& row,
                                                                             int64_t id, float logit) {
  constexpr float kNever = -__builtin_inff();
  if ((row.mask && !hasBit(row.mask, id)) || (row.set && !hasBit(row.set, id))) return kNever;
  if (row.endTokens && (hasBit(row.endTokens, id) || hasBit(row.stopTokens, id))) return kNever;
  float score = row.bias ? logit + row.bias[id] : logit;
  const uint32_t count = row.counts ? row.counts[id] : 0;
  if (count == 0) return score;
  const float repetition = row.settings[kRepetitionPenalty];
  score = score < 0 ? score * repetition : score / repetition;
  const uint32_t drawn = count & ~kInPrompt;
  if (drawn == 0) return score;
  return score - row.settings[kFrequencyPenalty] * static_cast<float>(drawn) - row.settings[kPresencePenalty];
}

// Whether the n - 1 tokens from `at` on are the last ones of the history, so that the token after them would
// make them an n-gram that was there.
__attribute__((always_inline)) TESSERAE_ANYWHERE static inline bool repeatsNgram(const int32_t* history,
                                                                                 int64_t length, int64_t n,
                                                                                 int64_t at) {
  for (int64_t i = 0; i < n - 1; ++i) {
    if (history[at + i] != history[length - (n - 1) + i]) return false;
  }
  return true;
}

}  // namespace tesserae
