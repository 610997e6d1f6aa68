// The backward pass of attention (Dao et al. 2022, algorithm 4) without atomics: one kernel walks over the
// queries of a block of keys and sums dK and dV, another one over the keys of a block of queries and sums dQ.
// Both recompute the probabilities, so that every sum has one owner and one order.
#pragma once

#include "ops/attention/sm80.cuh"

namespace tesserae {

namespace {

// c (16, kColumns) += rows from `row` on of a (rows, kHead) times b (kColumns, kHead) transposed.
template <int kColumns, int kHead, int kSteps, class T>
__device__ __forceinline__ void multiplyTiles(float (&c)[kColumns / 8][4], const T* a, const T* b, int row) {
  constexpr int kStride = kHead + 8;
#pragma unroll kSteps
  for (int depth = 0; depth < kHead; depth += 16) {
    uint32_t fragmentA[4];
    loadFragmentA(fragmentA, a, kStride, row, depth);
#pragma unroll
    for (int n = 0; n < kColumns / 16; ++n) {
      uint32_t fragmentB[4];
      loadFragmentsB(fragmentB, b, kStride, n * 16, depth);
      multiplyAccumulate<T>(c[2 * n], fragmentA, fragmentB[0], fragmentB[1]);
      multiplyAccumulate<T>(c[2 * n + 1], fragmentA, fragmentB[2], fragmentB[3]);
    }
  }
}

// A block owns 64 rows, a warp 16 of them, and walks over the others, kOthers at a time.
//   kKeysOwn: rows are keys; S^T = K Q^T, dP^T = V dO^T, dK += dS^T Q, dV += P^T dO
//   else:     rows are queries; S = Q K^T, dP = dO V^T, dQ += dS K
// Keys walk over the queries of each head of their group, in order. A block sums kColumns of the head's
// columns: part blockIdx.y.
template <class T, int kHead, int kColumns, int kOthers, int kStages, bool kKeysOwn, bool kDropout,
          bool kDocuments, class Arguments>
__global__ void __launch_bounds__(kAttentionThreads,
                                  kHead == 64 && (kKeysOwn || kDocuments) && !kDropout ? 3 : 1)
    attentionBackward(Arguments a, int tiles) {
  constexpr bool kGrouped = kKeysOwn && std::is_same_v<Arguments, StridedAttentionArguments>;
  constexpr int kStride = kHead + 8, kWarpRows = 16, kRows = kWarpRows * kWarps;
  constexpr int kOtherTile = kOthers * kStride;
  constexpr int kSteps = kHead > 96 ? (kDropout ? 1 : 2) : kHead / 16;  // unrolled as far as registers allow
  extern __shared__ __align__(16) char shared[];
  T* ownFirst = reinterpret_cast<T*>(shared);   // K or Q (kRows, kStride)
  T* ownSecond = ownFirst + kRows * kStride;    // V or dO
  T* otherTiles = ownSecond + kRows * kStride;  // kStages × {Q, dO} or {K, V} (kOthers, kStride)
  float* statistics = reinterpret_cast<float*>(otherTiles + kStages * 2 * kOtherTile);  // {lse, delta}
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  // The head of queries, or the first of those that share the head of keys.
  const int bh = blockIdx.x / tiles * (kGrouped ? groupOf(a) : 1), b = bh / a.heads, h = bh % a.heads;
  // Under a causal mask most queries see the first keys, and the last queries most keys: long blocks first.
  const int tile = static_cast<int>(blockIdx.x % tiles);
  const int first = (kKeysOwn ? tile : tiles - 1 - tile) * kRows, warpRow = warp * kWarpRows;
  const int warpFirst = first + warpRow;
  const int column = kColumns < kHead ? static_cast<int>(blockIdx.y) * kColumns : 0;
  const RowExtent extent = extentOf(a, b);
  const int length = kKeysOwn ? extent.keys : extent.queries;  // of the block's own rows
  const int otherLength = kKeysOwn ? extent.queries : extent.keys, known = extent.known;
  const int32_t* starts = kDocuments ? startsOf(a, b) : nullptr;
  const int width = a.heads * a.head, queryStride = queryStrideOf(a), keyStride = keyStrideOf(a);
  const T* dy = static_cast<const T*>(a.dy) + headOffset(a, b, h);
  const HeadRows<const T> rows = operandsOf<T>(a, b, h);
  const int64_t statisticsAt = static_cast<int64_t>(bh) * a.time;  // of the head's queries in lse and delta
  __shared__ WarpDocuments documents[kDocuments ? kWarps : 1];     // visible after the first barrier
  if constexpr (kDocuments) documents[warp] = documentsOf(a, starts, warpFirst, kWarpRows, length, kKeysOwn);
  const DropoutStream stream = dropoutStream(a, b, h);
  const float toLog2 = a.scale * kLog2E, keep = kDropout ? 1.0f / (1.0f - a.dropout) : 1.0f;

  const Span others = othersOf(a, starts, extent, first, kRows, kKeysOwn);
  const int start = others.first / kOthers,
            blocks = first >= length ? start : (others.end + kOthers - 1) / kOthers;
  // A group's heads one after the other: step start + i (blocks - start) is block `start` of its head i.
  const int steps = kGrouped ? start + groupOf(a) * max(blocks - start, 0) : blocks;
  const auto memberAt = [&](int step) { return kGrouped ? (step - start) / (blocks - start) : 0; };
  const auto blockAt = [&](int step) { return kGrouped ? start + (step - start) % (blocks - start) : step; };

  const auto load = [&](int step) {
    const int stage = step % kStages, at = blockAt(step) * kOthers, member = memberAt(step);
    T* tileX = otherTiles + stage * 2 * kOtherTile;
    loadRows<kOthers, kHead>(tileX, kKeysOwn ? rows.q + member * a.head : rows.k,
                             kKeysOwn ? queryStride : keyStride, at, otherLength, a.head);
    loadRows<kOthers, kHead>(tileX + kOtherTile, kKeysOwn ? dy + member * a.head : rows.v,
                             kKeysOwn ? width : keyStride, at, otherLength, a.head);
    if constexpr (kKeysOwn) {
      float* to = statistics + stage * 2 * kOthers;
      for (int i = threadIdx.x; i < 2 * kOthers; i += kAttentionThreads) {
        const int query = at + i % kOthers;
        const float* from = i < kOthers ? a.lse : a.delta;
        const bool inside = query < otherLength;
        copyAsync4(to + i,
                   inside ? from + statisticsAt + static_cast<int64_t>(member) * a.time + query : from,
                   inside);
      }
    }
  };
  if (start < blocks) {
    loadRows<kRows, kHead>(ownFirst, kKeysOwn ? rows.k : rows.q, kKeysOwn ? keyStride : queryStride, first,
                           length, a.head);
    loadRows<kRows, kHead>(ownSecond, kKeysOwn ? rows.v : dy, kKeysOwn ? keyStride : width, first, length,
                           a.head);
    load(start);
    commitCopies();
  }
  float rowLse[2] = {}, rowDelta[2] = {};
  if constexpr (!kKeysOwn) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int query = warpFirst + g + r * 8;
      if (query >= length) continue;
      rowLse[r] = a.lse[statisticsAt + query] * kLog2E;
      rowDelta[r] = a.delta[statisticsAt + query];
    }
  }
  float sumsS[kColumns / 8][4] = {};                 // dK or dQ
  float sumsP[kKeysOwn ? kColumns / 8 : 1][4] = {};  // dV

  for (int step = start; step < steps; ++step) {
    waitCopies<0>();
    __syncthreads();  // the stage is there for all, and all are done with the one before
    if constexpr (kStages > 1) {
      if (step + 1 < steps) load(step + 1);
      commitCopies();
    }
    const int at = blockAt(step) * kOthers;
    const T *tileX = otherTiles + step % kStages * 2 * kOtherTile, *tileY = tileX + kOtherTile;
    const float* columnLse = statistics + step % kStages * 2 * kOthers;
    const float* columnDelta = columnLse + kOthers;
    const bool unseen = warpFirst >= length ||
                        (a.causal && (kKeysOwn ? known + at + kOthers - 1 < warpFirst
                                               : at > known + warpFirst + kWarpRows - 1)) ||
                        (kDocuments && documents[warp].isUnmet(at, at + kOthers));
    if (!unseen) {
      float p[kOthers / 8][4] = {}, ds[kOthers / 8][4] = {};
      // One product after the other: fewer fragments are alive beside the sums.
      multiplyTiles<kOthers, kHead, kSteps>(p, ownFirst, tileX, warpRow);
      multiplyTiles<kOthers, kHead, kSteps>(ds, ownSecond, tileY, warpRow);
      const bool diagonal = a.causal && (kKeysOwn ? known + at < warpFirst + kWarpRows - 1
                                                  : at + kOthers - 1 > known + warpFirst);
      const bool mixed = kDocuments && documents[warp].isMixed(at, at + kOthers);
      const bool masked = at + kOthers > otherLength || warpFirst + kWarpRows > length || diagonal || mixed;
#pragma unroll
      for (int n = 0; n < kOthers / 8; ++n) {
        float logSum[2], mean[2];  // of the queries at columns 2t and 2t + 1
        if constexpr (kKeysOwn) {
          const float2 sums = *reinterpret_cast<const float2*>(columnLse + n * 8 + 2 * t);
          const float2 means = *reinterpret_cast<const float2*>(columnDelta + n * 8 + 2 * t);
          logSum[0] = sums.x * kLog2E;
          logSum[1] = sums.y * kLog2E;
          mean[0] = means.x;
          mean[1] = means.y;
        }
        uint32_t kept = 15;
        if constexpr (kDropout) {
          // In the stream the queries of a row's next head follow.
          kept = kKeysOwn ? keptOfColumns(stream, warpFirst, memberAt(step) * a.time + at + n * 8)
                          : keptOfRows(stream, warpFirst, at + n * 8);
        }
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if constexpr (!kKeysOwn) {
            logSum[e % 2] = rowLse[e / 2];
            mean[e % 2] = rowDelta[e / 2];
          }
          float probability = exponential2(fmaf(p[n][e], toLog2, -logSum[e % 2]));
          if (masked) {
            const int row = warpFirst + g + e / 2 * 8, other = at + n * 8 + 2 * t + e % 2;
            const int key = kKeysOwn ? row : other, query = kKeysOwn ? other : row;
            if (key >= extent.keys || query >= extent.queries || (a.causal && key > known + query) ||
                (mixed && starts[key] != starts[query]))
              probability = 0;
          }
          const float factor = kept >> e & 1u ? keep : 0.0f;
          p[n][e] = probability * factor;
          ds[n][e] = probability * (ds[n][e] * factor - mean[e % 2]);
        }
      }
#pragma unroll
      for (int k0 = 0; k0 < kOthers / 16; ++k0) {
        uint32_t fragmentS[4], fragmentP[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int n = 2 * k0 + i / 2, e = i % 2 * 2;
          fragmentS[i] = packPair<T>(ds[n][e], ds[n][e + 1]);
          if constexpr (kKeysOwn) fragmentP[i] = packPair<T>(p[n][e], p[n][e + 1]);
        }
#pragma unroll
        for (int n = 0; n < kColumns / 16; ++n) {
          uint32_t fragmentX[4], fragmentY[4];
          loadFragmentsBRows(fragmentX, tileX, kStride, column + n * 16, k0 * 16);
          if constexpr (kKeysOwn) loadFragmentsBRows(fragmentY, tileY, kStride, column + n * 16, k0 * 16);
          multiplyAccumulate<T>(sumsS[2 * n], fragmentS, fragmentX[0], fragmentX[1]);
          multiplyAccumulate<T>(sumsS[2 * n + 1], fragmentS, fragmentX[2], fragmentX[3]);
          if constexpr (kKeysOwn) {
            multiplyAccumulate<T>(sumsP[2 * n], fragmentP, fragmentY[0], fragmentY[1]);
            multiplyAccumulate<T>(sumsP[2 * n + 1], fragmentP, fragmentY[2], fragmentY[3]);
          }
        }
      }
    }
    if constexpr (kStages == 1) {
      __syncthreads();
      if (step + 1 < steps) load(step + 1);
      commitCopies();
    }
  }

  // The warp's own rows of the tiles take the results on their way to 16-byte stores, once all lanes have
  // read them.
  __syncwarp();
#pragma unroll
  for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int place = (warpRow + g + r * 8) * kStride + column + n * 8 + 2 * t;
      *reinterpret_cast<uint32_t*>(ownFirst + place) =
          packPair<T>(sumsS[n][2 * r] * a.scale, sumsS[n][2 * r + 1] * a.scale);
      if constexpr (kKeysOwn) {
        *reinterpret_cast<uint32_t*>(ownSecond + place) = packPair<T>(sumsP[n][2 * r], sumsP[n][2 * r + 1]);
      }
    }
  }
  __syncwarp();
  const HeadRows<T> gradients = gradientsOf<T>(a, b, h);
  const int time = kKeysOwn ? keyTimeOf(a) : a.time;
  storeRows<kWarpRows, kHead, kColumns>(ownFirst + warpRow * kStride, kKeysOwn ? gradients.k : gradients.q,
                                        kKeysOwn ? keyStride : queryStride, warpFirst, time, a.head, column);
  if constexpr (kKeysOwn) {
    storeRows<kWarpRows, kHead, kColumns>(ownSecond + warpRow * kStride, gradients.v, keyStride, warpFirst,
                                          time, a.head, column);
  }
}

template <class T, int kHead, bool kKeysOwn, bool kDropout, bool kDocuments, class Arguments>
void launchBackwardKernel(const Arguments& a, cudaStream_t stream) {
  // dK and dV of 256 columns do not fit into the registers: two blocks share them, each with all of S.
  constexpr int kColumns = kKeysOwn && kHead > 128 ? kHead / 2 : kHead;
  // Few enough registers for three blocks or more on a multiprocessor are worth more than larger tiles.
  constexpr bool kTight = kHead > 96 && kKeysOwn && kDropout && kDocuments;
  constexpr int kOthers = kHead > 128 || kTight ? 16 : (!kKeysOwn && kHead == 32 && !kDropout ? 64 : 32);
  constexpr int kStages = kHead <= 128 ? 2 : 1;
  constexpr int kRows = 16 * kWarps;
  constexpr int kBytes = (2 * kRows + kStages * 2 * kOthers) * (kHead + 8) * static_cast<int>(sizeof(T)) +
                         (kKeysOwn ? kStages * 2 * kOthers * static_cast<int>(sizeof(float)) : 0);
  const auto kernel =
      attentionBackward<T, kHead, kColumns, kOthers, kStages, kKeysOwn, kDropout, kDocuments, Arguments>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  const int tiles = ((kKeysOwn ? keyTimeOf(a) : a.time) + kRows - 1) / kRows;
  const int heads = kKeysOwn ? a.heads / groupOf(a) : a.heads;
  const dim3 blocks(static_cast<unsigned>(static_cast<int64_t>(a.batch) * heads * tiles), kHead / kColumns);
  kernel<<<blocks, kAttentionThreads, kBytes, stream>>>(a, tiles);
  cudaCheckLaunch("attention_backward");
}

template <class T, bool kDocuments, class Arguments>
void launchBackwardKernels(const Arguments& a, cudaStream_t stream) {
  dispatchHead(a.head, [&](auto constant) {
    constexpr int kHead = decltype(constant)::value;
    if (a.dropout > 0) {
      launchBackwardKernel<T, kHead, true, true, kDocuments>(a, stream);
      return launchBackwardKernel<T, kHead, false, true, kDocuments>(a, stream);
    }
    launchBackwardKernel<T, kHead, true, false, kDocuments>(a, stream);
    launchBackwardKernel<T, kHead, false, false, kDocuments>(a, stream);
  });
}

}  // namespace

template <class T, bool kDocuments>
void launchBackward16(const AttentionArguments& a, cudaStream_t stream) {
  launchBackwardKernels<T, kDocuments>(a, stream);
}

template <class T>
void launchStridedBackward16(const StridedAttentionArguments& a, cudaStream_t stream) {
  launchBackwardKernels<T, false>(a, stream);
}

}  // namespace tesserae
