// Philox for runs of columns; for cpu.cc files only. GCC makes 64-bit multiplications and shuffles of a
// vectorised philox(). Here each 64-bit lane is a generator whose 32 × 32 → 64 bit products are one
// instruction: twice as fast.
#pragma once

#include <immintrin.h>

#include "runtime/philox.h"

namespace tesserae::TESSERAE_ISA {

#if defined(__AVX512F__)
typedef uint64_t PhiloxLanes __attribute__((vector_size(64)));
#elif defined(__AVX2__)
typedef uint64_t PhiloxLanes __attribute__((vector_size(32)));
#else
typedef uint64_t PhiloxLanes __attribute__((vector_size(16)));
#endif

typedef uint64_t WordPair __attribute__((may_alias, aligned(4)));

// Words of random bits come in multiples of this.
inline constexpr int64_t kPhiloxWords = 32;

// The products of the low halves of the lanes.
__attribute__((always_inline)) static inline PhiloxLanes multiplyLow(PhiloxLanes a, PhiloxLanes b) {
#if defined(__AVX512F__)
  return (PhiloxLanes)_mm512_maskz_mul_epu32(0xff, (__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (PhiloxLanes)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#else
  return (PhiloxLanes)_mm_mul_epu32((__m128i)a, (__m128i)b);
#endif
}

// words[4 i + lane] = philox(key, c0 + i, c1, c2, c3).v[lane]; count is a multiple of kPhiloxWords.
__attribute__((always_inline)) static inline void philoxWords(uint64_t key, uint32_t c0, uint32_t c1,
                                                              uint32_t c2, uint32_t c3, int64_t count,
                                                              uint32_t* words) {
  constexpr int64_t kLanes = sizeof(PhiloxLanes) / sizeof(uint64_t);
  const PhiloxLanes zero = {};
  PhiloxLanes index;
  for (int64_t lane = 0; lane < kLanes; ++lane) index[lane] = lane;
  for (int64_t first = 0; first < count; first += 4 * kLanes) {
    // Only the low halves of the lanes count; the high ones hold what carries and shifts leave there.
    PhiloxLanes w0 = index + (c0 + static_cast<uint64_t>(first / 4)), w1 = zero + c1, w2 = zero + c2,
                w3 = zero + c3;
    PhiloxLanes k0 = zero + key, k1 = zero + (key >> 32);
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const PhiloxLanes p0 = multiplyLow(w0, zero + 0xD2511F53u), p1 = multiplyLow(w2, zero + 0xCD9E8D57u);
      w0 = (p1 >> 32) ^ w1 ^ k0;
      w1 = p1;
      w2 = (p0 >> 32) ^ w3 ^ k1;
      w3 = p0;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    const PhiloxLanes low = (w0 & 0xffffffffu) | w1 << 32, high = (w2 & 0xffffffffu) | w3 << 32;
    WordPair* to = reinterpret_cast<WordPair*>(words + first);
#pragma omp simd
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      to[2 * lane] = low[lane];
      to[2 * lane + 1] = high[lane];
    }
  }
}

}  // namespace tesserae::TESSERAE_ISA
