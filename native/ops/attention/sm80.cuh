// What the tensor-core kernels of attention share. For .cu files only.
#pragma once

#include <type_traits>

#include "ops/attention/launch.cuh"
#include "ops/cuda_mma.cuh"

namespace tesserae {

inline constexpr int kWarps = 4, kAttentionThreads = 32 * kWarps;

// Loads rows first..first + kRows - 1 of a head into a tile (kRows, kHead + 8). `from` is row 0 of the head.
// A tile row has an odd number of 16-byte words, so that ldmatrix reads eight rows from different banks. Rows
// from `limit` on and columns beyond the head are zero.
template <int kRows, int kHead, class T>
__device__ __forceinline__ void loadRows(T* tile, const T* from, int stride, int first, int limit, int head) {
  constexpr int kChunks = kHead / 8;
#pragma unroll
  for (int i = 0; i < (kRows * kChunks + kAttentionThreads - 1) / kAttentionThreads; ++i) {
    const int index = threadIdx.x + i * kAttentionThreads, row = index / kChunks,
              column = index % kChunks * 8;
    if (kRows * kChunks % kAttentionThreads && index >= kRows * kChunks) break;
    const bool inside = first + row < limit && column < head;
    copyAsync16(tile + row * (kHead + 8) + column,
                inside ? from + static_cast<int64_t>(first + row) * stride + column : from, inside);
  }
}

// Copies columns `column`..column + kColumns - 1 of a warp's rows of a tile (rows, kHead + 8) to rows first…
// of a head, below row `limit`. `to` is row 0 of the head.
template <int kRows, int kHead, int kColumns, class T>
__device__ __forceinline__ void storeRows(const T* tile, T* to, int stride, int first, int limit, int head,
                                          int column) {
  constexpr int kChunks = kColumns / 8;
  for (int index = threadIdx.x % 32; index < kRows * kChunks; index += 32) {
    const int row = index / kChunks, at = column + index % kChunks * 8;
    if (first + row >= limit || at >= head) continue;
    *reinterpret_cast<uint4*>(to + static_cast<int64_t>(first + row) * stride + at) =
        *reinterpret_cast<const uint4*>(tile + row * (kHead + 8) + at);
  }
}

// Which elements of a 16 × 8 accumulator tile are kept, bit e for element e. Rows are queries from `query`
// on, columns keys from `key` on. A lane has two keys of two queries; two neighbours draw a block each and
// exchange.
__device__ __forceinline__ uint32_t keptOfRows(const DropoutStream& s, int query, int key) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, odd = t % 2;
  const uint32_t mine = s.keptOfFour(key / 4 + t / 2, query + g + odd * 8);
  const uint32_t other = __shfl_xor_sync(0xffffffffu, mine, 1);
  const uint32_t low = (odd ? other : mine) >> (2 * odd) & 3u, high = (odd ? mine : other) >> (2 * odd) & 3u;
  return low | high << 2;
}

// The same where rows are keys from `key` on and columns queries from `query` on. A lane has two queries of
// two keys. They need four blocks; the four lanes with the same keys ÷ 4 draw one each.
__device__ __forceinline__ uint32_t keptOfColumns(const DropoutStream& s, int key, int query) {
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, part = g % 4;
  const uint32_t mine = s.keptOfFour((key + part / 2 * 8 + g) / 4, query + 2 * t + part % 2);
  uint32_t kept = 0;
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    const uint32_t drawn = __shfl_sync(0xffffffffu, mine, (lane & ~12) | e << 2);
    kept |= (drawn >> part & 1u) << e;
  }
  return kept;
}

// Calls f with the head size in shared memory, a multiple of 16 that holds `head`.
template <class F>
void dispatchHead(int head, F&& f) {
  if (head <= 32) return f(std::integral_constant<int, 32>{});
  if (head <= 64) return f(std::integral_constant<int, 64>{});
  if (head <= 80) return f(std::integral_constant<int, 80>{});
  if (head <= 96) return f(std::integral_constant<int, 96>{});
  if (head <= 128) return f(std::integral_constant<int, 128>{});
  f(std::integral_constant<int, 256>{});
}

}  // namespace tesserae
