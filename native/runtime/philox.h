// Header-only and free of the standard library's templates: kernels include it under several instruction
// sets.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define TESSERAE_ANYWHERE __host__ __device__
#else
#define TESSERAE_ANYWHERE
#endif

namespace tesserae {

struct Philox4 {
  uint32_t v[4];
};

// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3).
// key: 64 bits; counter: four 32-bit words.
__attribute__((always_inline)) TESSERAE_ANYWHERE static inline Philox4 philox(uint64_t key, uint32_t c0,
                                                                              uint32_t c1, uint32_t c2,
                                                                              uint32_t c3) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
#ifndef __CUDACC__
#pragma GCC unroll 10  // straight-line code, so that loops over counters vectorise
#endif
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0,
                   n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// A uniform number in [0, 1) with 24 random bits: exact in fp32.
__attribute__((always_inline)) TESSERAE_ANYWHERE static inline float uniform01(uint32_t bits) {
  return static_cast<float>(bits >> 8) * (1.0f / 16777216.0f);
}

// 64-bit FNV-1a of a name followed by a mixing step: the part of a Philox key that a site or a parameter
// adds.
static inline uint64_t hashName(const char* name, int64_t length) {
  uint64_t h = 0xcbf29ce484222325ull;
  for (int64_t i = 0; i < length; ++i) h = (h ^ static_cast<uint8_t>(name[i])) * 0x100000001b3ull;
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdull;
  h ^= h >> 33;
  return h;
}

}  // namespace tesserae
