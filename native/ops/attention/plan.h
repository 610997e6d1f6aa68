#pragma once

#include <cstdint>

namespace tesserae {

// A task of attention is a block of queries against all keys that they see. Its scores are queryBlock ×
// stride floats.
struct AttentionPlan {
  int64_t queryBlock;
  int64_t stride;          // of a row of scores: the keys, rounded up to a cache line
  int64_t forwardFloats;   // a thread's workspace: scores, then a row of the dropout mask
  int64_t backwardFloats;  // probabilities, their gradients, then a row of the dropout mask
};

__attribute__((always_inline)) static inline AttentionPlan planAttention(int64_t time) {
  AttentionPlan p;
  p.queryBlock = 64;
  p.stride = (time + 15) / 16 * 16;
  const int64_t mask = (time + 63) / 64 * 64;  // drawn 16 Philox blocks of 4 at a time
  p.forwardFloats = p.queryBlock * p.stride + mask;
  p.backwardFloats = 2 * p.queryBlock * p.stride + mask;
  return p;
}

}  // namespace tesserae
