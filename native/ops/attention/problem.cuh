// defines: AttentionArguments, lengthOf, headOffset, DropoutStream, dropoutStream, kLog2E
// What the CUDA kernels of attention read of a call. For .cu files only.
#pragma once

#include "ops/cuda_support.cuh"
#include "runtime/philox.h"

namespace tesserae {

inline constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;

// Element (b, t, which, h, d) of qkv stands at ((b T + t) 3 + which) width + h Dp + d, width = H Dp; the
// same in dqkv. y and dy: (b T + t) width + h Dp + d. lse and delta (B, H, T).
struct AttentionArguments {
  const void* qkv;
  void* y;
  float* lse;
  const void* dy;
  float* delta;  // rowsum(dy ∘ y)
  void* dqkv;
  const int32_t* lengths;
  const int64_t* counters;
  uint64_t site;
  int32_t batch, time, heads, head;  // head: Dp
  float scale, dropout;
  bool causal;
};

// Positions of row b that hold tokens.
__device__ __forceinline__ int lengthOf(const AttentionArguments& a, int b) {
  if (!a.lengths) return a.time;
  const int length = a.lengths[b];
  return length < 0 ? 0 : (length < a.time ? length : a.time);
}

// Where head h of row b begins in y, and `which` of it in qkv.
__device__ __forceinline__ int64_t headOffset(const AttentionArguments& a, int b, int h) {
  return static_cast<int64_t>(b) * a.time * a.heads * a.head + static_cast<int64_t>(h) * a.head;
}
__device__ __forceinline__ int64_t headOffset(const AttentionArguments& a, int b, int h, int which) {
  const int64_t width = static_cast<int64_t>(a.heads) * a.head;
  return static_cast<int64_t>(b) * a.time * 3 * width + which * width + static_cast<int64_t>(h) * a.head;
}

// The random numbers of a head of a row. Key and counters as on the CPU: one Philox block is for four keys of
// a query.
struct DropoutStream {
  uint64_t key;
  uint32_t firstRow, sample, attempted;
  float threshold;

  // Bit i: whether key 4 group + i of the query is kept.
  __device__ __forceinline__ uint32_t keptOfFour(int group, int query) const {
    const Philox4 bits =
        philox(key, static_cast<uint32_t>(group), firstRow + static_cast<uint32_t>(query), sample, attempted);
    uint32_t kept = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) kept |= uniform01(bits.v[i]) >= threshold ? 1u << i : 0u;
    return kept;
  }
};

__device__ __forceinline__ DropoutStream dropoutStream(const AttentionArguments& a, int b, int h) {
  DropoutStream s{0, 0, 0, 0, a.dropout};
  if (a.dropout > 0) {
    s.key = static_cast<uint64_t>(a.counters[kSeed]) ^ a.site;
    s.firstRow = static_cast<uint32_t>(h) * static_cast<uint32_t>(a.time);
    s.sample = static_cast<uint32_t>(a.counters[kFirstSample]) + static_cast<uint32_t>(b);
    s.attempted = static_cast<uint32_t>(a.counters[kAttempted]);
  }
  return s;
}

}  // namespace tesserae
