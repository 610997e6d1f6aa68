// What the operations of sampling, their lowering and the session agree on. Plain data: kernels include it.
#pragma once

#include <cstdint>

namespace tesserae {

// The fields of `settings` (rows, kSettings) fp32.
enum Setting : int64_t {
  kTemperature,        // 0: the likeliest token
  kTopK,               // 0: off
  kTopP,               // 1: off
  kMinP,               // 0: off
  kRepetitionPenalty,  // 1: off
  kFrequencyPenalty,   // 0: off
  kPresencePenalty,    // 0: off
  kNgramSize,          // 0: off
  kMinNewTokens,
  kMaxNewTokens,
  kSettings,
};

// Why a row goes no further.
enum Finish : int32_t {
  kRunning,
  kEndToken,   // one of eosTokenId
  kStopToken,  // one of stopTokens
  kLength,     // maxNewTokens
  kFull,       // the cache has no place for the token chosen last
  kNoToken,    // none is allowed, or no logit of those is finite
};

inline constexpr int64_t kPagePositions = 128;  // of the cache: keys of a run never cross a page
inline constexpr int64_t kMostVisit = 64;       // tokens of a row that wait for the host
inline constexpr int64_t kMostLogProbs = 128;   // most likely tokens that can be reported
inline constexpr int64_t kMostSets = 1 << 24;   // of allowed tokens

inline constexpr uint32_t kInPrompt = 1u
                                      << 31;  // in a token's count: the prompt has it; the rest: times drawn

// Words of a set of token ids, a bit an id.
__attribute__((always_inline)) static inline int64_t maskWords(int64_t vocabulary) {
  return (vocabulary + 31) / 32;
}

}  // namespace tesserae
