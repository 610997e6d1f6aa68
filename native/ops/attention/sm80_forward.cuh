// Attention without the T × T scores in memory (Dao et al. 2022, algorithm 1): blocks of queries walk over
// blocks of keys with a running maximum and sum.
#pragma once

#include "ops/attention/sm80.cuh"
#include "ops/sampling.h"

namespace tesserae {

namespace {

// A block has 64 kRowTiles queries, a warp 16 kRowTiles of them; kKeys keys at a time, the next ones being
// loaded meanwhile. qkv (B, T, 3, H, D→Dp), or q (B, Tq, H, D→Dp) and kv (B, Tk, 2, G, D→Dp) -> y (B, Tq, H,
// D→Dp), lse (B, H, Tq). CachedAttentionArguments: keys and values are those of a cache, into which the new
// ones have been put; the mask is causal.
template <class T, int kHead, int kRowTiles, int kKeys, bool kDropout, bool kDocuments, class Arguments>
__global__ void __launch_bounds__(kAttentionThreads,
                                  kDocuments && !kDropout && kHead >= 64 && kHead <= 96 ? 3 : 0)
    attentionForward(Arguments a, int tiles) {
  constexpr bool kCached = std::is_same_v<Arguments, CachedAttentionArguments>;
  constexpr bool kStrided = std::is_same_v<Arguments, StridedAttentionArguments>;
  constexpr int kStride = kHead + 8, kQueries = 16 * kRowTiles * kWarps, kKeyTile = kKeys * kStride;
  constexpr int kSteps = kHead > 96 ? 2 : kHead / 16;  // unrolled as far as registers allow
  extern __shared__ __align__(16) char shared[];
  T* queryTile = reinterpret_cast<T*>(shared);   // (kQueries, kStride)
  T* keyTiles = queryTile + kQueries * kStride;  // 2 × {keys, values} (kKeys, kStride)
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int bh = blockIdx.x / tiles, b = bh / a.heads, h = bh % a.heads;
  // The last queries see most keys under a causal mask: the long blocks of a head first.
  const int first = (tiles - 1 - static_cast<int>(blockIdx.x % tiles)) * kQueries;
  const int warpRow = warp * 16 * kRowTiles, warpFirst = first + warpRow;
  const RowExtent extent = extentOf(a, b);
  const int length = extent.queries, keyEnd = extent.keys, known = extent.known;
  const int32_t* starts = kDocuments ? startsOf(a, b) : nullptr;
  const HeadRows<const T> rows = operandsOf<T>(a, b, h);
  const Span seen = othersOf(a, starts, extent, first, kQueries, false);
  const int start = seen.first / kKeys, blocks = first >= length ? start : (seen.end + kKeys - 1) / kKeys;
  __shared__ WarpDocuments documents[kDocuments ? kWarps : 1];  // visible after the first barrier
  if constexpr (kDocuments)
    documents[warp] = documentsOf(a, starts, warpFirst, 16 * kRowTiles, length, false);
  const DropoutStream stream = dropoutStream(a, b, h);
  const float toLog2 = a.scale * kLog2E;

  const auto load = [&](int block) {
    T* stage = keyTiles + block % 2 * 2 * kKeyTile;
    if constexpr (kCached) {
      static_assert(kPagePositions % kKeys == 0);  // a block of keys is within a page
      const int key = block * kKeys;
      const int64_t from = key / kPagePositions * a.pageStride +
                           (static_cast<int64_t>(b) * kPagePositions + key % kPagePositions) * a.keyStride +
                           h / a.group * a.head;
      loadRows<kKeys, kHead>(stage, static_cast<const T*>(a.k) + from, a.keyStride, 0, keyEnd - key, a.head);
      loadRows<kKeys, kHead>(stage + kKeyTile, static_cast<const T*>(a.v) + from, a.keyStride, 0,
                             keyEnd - key, a.head);
      return;
    }
    loadRows<kKeys, kHead>(stage, rows.k, keyStrideOf(a), block * kKeys, keyEnd, a.head);
    loadRows<kKeys, kHead>(stage + kKeyTile, rows.v, keyStrideOf(a), block * kKeys, keyEnd, a.head);
  };
  if (start < blocks) {
    loadRows<kQueries, kHead>(queryTile, rows.q, queryStrideOf(a), first, length, a.head);
    load(start);
    commitCopies();
  }
  float sums[kRowTiles][kHead / 8][4] = {};  // of P V
  float maximum[kRowTiles][2], total[kRowTiles][2];
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i) {
    maximum[i][0] = maximum[i][1] = -FLT_MAX;  // a number: the first keys may all be of other documents
    total[i][0] = total[i][1] = 0;
  }

  for (int block = start; block < blocks; ++block) {
    waitCopies<0>();
    __syncthreads();  // the stage is there for all, and all are done with the one that is filled now
    if (block + 1 < blocks) load(block + 1);
    commitCopies();
    const int key = block * kKeys;
    const T *keys = keyTiles + block % 2 * 2 * kKeyTile, *values = keys + kKeyTile;
    const bool beyond =  // all of the warp's queries
        warpFirst >= length || (a.causal && key > known + warpFirst + 16 * kRowTiles - 1) ||
        (kDocuments && documents[warp].isUnmet(key, key + kKeys));
    if (!beyond) {
      float scores[kRowTiles][kKeys / 8][4] = {};
#pragma unroll kSteps
      for (int k = 0; k < kHead; k += 16) {
        uint32_t fragmentQ[kRowTiles][4];
#pragma unroll
        for (int i = 0; i < kRowTiles; ++i) {
          loadFragmentA(fragmentQ[i], queryTile, kStride, warpRow + i * 16, k);
        }
#pragma unroll
        for (int n = 0; n < kKeys / 16; ++n) {
          uint32_t fragmentK[4];
          loadFragmentsB(fragmentK, keys, kStride, n * 16, k);
#pragma unroll
          for (int i = 0; i < kRowTiles; ++i) {
            multiplyAccumulate<T>(scores[i][2 * n], fragmentQ[i], fragmentK[0], fragmentK[1]);
            multiplyAccumulate<T>(scores[i][2 * n + 1], fragmentQ[i], fragmentK[2], fragmentK[3]);
          }
        }
      }
      const bool mixed = kDocuments && documents[warp].isMixed(key, key + kKeys);
      const bool masked = key + kKeys > keyEnd || (a.causal && key + kKeys - 1 > known + warpFirst) || mixed;
      uint32_t fragmentP[kRowTiles][kKeys / 16][4];
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
        const int row = warpFirst + i * 16 + g;
        if (masked) {
#pragma unroll
          for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              const int column = key + n * 8 + 2 * t + e % 2;
              if (column >= keyEnd || (a.causal && column > known + row + e / 2 * 8) ||
                  (mixed && starts[column] != starts[min(row + e / 2 * 8, length - 1)]))
                scores[i][n][e] = -INFINITY;
            }
          }
        }
        float highest[2] = {-INFINITY, -INFINITY};
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
          for (int e = 0; e < 4; ++e) highest[e / 2] = fmaxf(highest[e / 2], scores[i][n][e]);
        }
        float correction[2];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          highest[r] = fmaxf(highest[r], __shfl_xor_sync(0xffffffffu, highest[r], 1));
          highest[r] = fmaxf(highest[r], __shfl_xor_sync(0xffffffffu, highest[r], 2));
          highest[r] = fmaxf(maximum[i][r], highest[r] * toLog2);
          correction[r] = exponential2(maximum[i][r] - highest[r]);
          maximum[i][r] = highest[r];
          total[i][r] *= correction[r];
        }
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            const float p = exponential2(fmaf(scores[i][n][e], toLog2, -highest[e / 2]));
            scores[i][n][e] = p;
            total[i][e / 2] += p;
          }
          // The denominator is that of the softmax: dropout comes after it.
          if constexpr (kDropout) {
            const uint32_t kept = keptOfRows(stream, warpFirst + i * 16, key + n * 8);
#pragma unroll
            for (int e = 0; e < 4; ++e) scores[i][n][e] = kept >> e & 1u ? scores[i][n][e] : 0.0f;
          }
        }
#pragma unroll
        for (int n = 0; n < kKeys / 16; ++n) {
          fragmentP[i][n][0] = packPair<T>(scores[i][2 * n][0], scores[i][2 * n][1]);
          fragmentP[i][n][1] = packPair<T>(scores[i][2 * n][2], scores[i][2 * n][3]);
          fragmentP[i][n][2] = packPair<T>(scores[i][2 * n + 1][0], scores[i][2 * n + 1][1]);
          fragmentP[i][n][3] = packPair<T>(scores[i][2 * n + 1][2], scores[i][2 * n + 1][3]);
        }
        // Most blocks raise no maximum.
        if (__any_sync(0xffffffffu, correction[0] != 1.0f || correction[1] != 1.0f)) {
#pragma unroll
          for (int n = 0; n < kHead / 8; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) sums[i][n][e] *= correction[e / 2];
          }
        }
      }
#pragma unroll
      for (int k = 0; k < kKeys / 16; ++k) {
#pragma unroll
        for (int n = 0; n < kHead / 16; ++n) {
          uint32_t fragmentV[4];
          loadFragmentsBRows(fragmentV, values, kStride, n * 16, k * 16);
#pragma unroll
          for (int i = 0; i < kRowTiles; ++i) {
            multiplyAccumulate<T>(sums[i][2 * n], fragmentP[i][k], fragmentV[0], fragmentV[1]);
            multiplyAccumulate<T>(sums[i][2 * n + 1], fragmentP[i][k], fragmentV[2], fragmentV[3]);
          }
        }
      }
    }
  }

  // The warp's own rows of queryTile take the result on its way to 16-byte stores, once all lanes have read
  // them.
  __syncwarp();
  const float keep = kDropout ? 1.0f / (1.0f - a.dropout) : 1.0f;
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = i * 16 + g + r * 8, query = warpFirst + row;
      float sum = total[i][r];
      sum += __shfl_xor_sync(0xffffffffu, sum, 1);
      sum += __shfl_xor_sync(0xffffffffu, sum, 2);
      // Only queries apart from keys may see none: those that are before the first key, or of a row of none.
      const bool inside = query < length && !(kStrided && sum == 0.0f);
      const float factor = keep / sum;
#pragma unroll
      for (int n = 0; n < kHead / 8; ++n) {
        *reinterpret_cast<uint32_t*>(queryTile + (warpRow + row) * kStride + n * 8 + 2 * t) =
            inside ? packPair<T>(sums[i][n][2 * r] * factor, sums[i][n][2 * r + 1] * factor) : 0u;
      }
      if (a.lse && t == 0 && query < a.time) {
        a.lse[static_cast<int64_t>(bh) * a.time + query] =
            inside ? maximum[i][r] * kLn2 + logf(sum) : -INFINITY;
      }
    }
  }
  __syncwarp();
  storeRows<16 * kRowTiles, kHead, kHead>(queryTile + warpRow * kStride,
                                          static_cast<T*>(a.y) + headOffset(a, b, h), a.heads * a.head,
                                          warpFirst, a.time, a.head, 0);
}

template <class T, int kHead, bool kDropout, bool kDocuments, class Arguments>
void launchForwardKernel(const Arguments& a, cudaStream_t stream) {
  // Two row tiles a warp use each fragment of K and V twice; larger heads need the registers.
  constexpr int kRowTiles = kHead <= 64 ? 2 : 1;
  constexpr int kKeys = kHead > 128 ? 16 : 32;
  constexpr int kQueries = 16 * kRowTiles * kWarps;
  constexpr int kBytes = (kQueries + 4 * kKeys) * (kHead + 8) * static_cast<int>(sizeof(T));
  const auto kernel = attentionForward<T, kHead, kRowTiles, kKeys, kDropout, kDocuments, Arguments>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  const int tiles = (a.time + kQueries - 1) / kQueries;
  const unsigned blocks = static_cast<unsigned>(static_cast<int64_t>(a.batch) * a.heads * tiles);
  kernel<<<blocks, kAttentionThreads, kBytes, stream>>>(a, tiles);
  cudaCheckLaunch("attention");
}

}  // namespace

template <class T, bool kDocuments>
void launchForward16(const AttentionArguments& a, cudaStream_t stream) {
  dispatchHead(a.head, [&](auto constant) {
    constexpr int kHead = decltype(constant)::value;
    if (a.dropout > 0) return launchForwardKernel<T, kHead, true, kDocuments>(a, stream);
    launchForwardKernel<T, kHead, false, kDocuments>(a, stream);
  });
}

template <class T>
void launchCachedForward16(const CachedAttentionArguments& a, cudaStream_t stream) {
  dispatchHead(a.head, [&](auto constant) {
    launchForwardKernel<T, decltype(constant)::value, false, false>(a, stream);
  });
}

template <class T>
void launchStridedForward16(const StridedAttentionArguments& a, cudaStream_t stream) {
  dispatchHead(a.head, [&](auto constant) {
    constexpr int kHead = decltype(constant)::value;
    if (a.dropout > 0) return launchForwardKernel<T, kHead, true, false>(a, stream);
    launchForwardKernel<T, kHead, false, false>(a, stream);
  });
}

}  // namespace tesserae
