// What the kernels of filter_tokens have in common: scores as integers of the same order, and probabilities
// as integers, whose sums are the same in any order.
#pragma once

#include <cstdint>

#include "runtime/philox.h"

namespace tesserae {

// a < b as floats exactly where it is so for their keys; no NaN. -0 counts as less than 0.
__attribute__((always_inline)) TESSERAE_ANYWHERE static inline uint32_t orderedKey(float x) {
  union {
    float number;
    uint32_t bits;
  } u = {x};
  return u.bits & 0x80000000u ? ~u.bits : u.bits | 0x80000000u;
}

__attribute__((always_inline)) TESSERAE_ANYWHERE static inline float fromOrderedKey(uint32_t key) {
  union {
    uint32_t bits;
    float number;
  } u = {key & 0x80000000u ? key & 0x7fffffffu : ~key};
  return u.number;
}

// The weight e^0 of the likeliest token: sums over 2^24 tokens stay below 2^63.
inline constexpr float kWeightOne = 0x1p38f;

}  // namespace tesserae
