// Attention in fp32 multiply-adds, for every layout and mask; far slower than tensor cores. A block has 32
// rows, a warp 4 of them; the lanes are 32 rows of the other side.
#pragma once

#include <type_traits>

#include "ops/attention/launch.cuh"

namespace tesserae {

namespace {

constexpr int kPlainThreads = 256, kPlainRows = 32, kWarpRows = 4;

// Rows first… of a head into a tile (32, kHead + 1): lanes that read a column find 32 banks.
template <int kHead, class T>
__device__ __forceinline__ void loadPlain(float* tile, const T* from, int64_t stride, int first, int limit,
                                          int head) {
  constexpr int kStep = kPlainThreads / kHead;  // rows that the block's threads load at once
  const int d = threadIdx.x % kHead;
  int row = threadIdx.x / kHead;
  const T* at = from + (first + row) * stride + d;
  for (; row < kPlainRows; row += kStep, at += kStep * stride) {
    tile[row * (kHead + 1) + d] = first + row < limit && d < head ? toFloat(*at) : 0.0f;
  }
}

// 0 or 1 / (1 - dropout)
__device__ __forceinline__ float plainFactor(const AttentionArguments& a, const DropoutStream& s, int query,
                                             int key) {
  if (!(a.dropout > 0)) return 1.0f;
  return s.keptOfFour(key / 4, query) >> key % 4 & 1u ? 1.0f / (1.0f - a.dropout) : 0.0f;
}

// The keys that a query of row b sees, like keysOf on the CPU; none if end is not above first. Without a
// causal mask, a packed row with documents includes later documents: startOf tells them apart.
__device__ __forceinline__ Span keysOf(const StridedAttentionArguments& a, const RowExtent& extent, int b,
                                       int query) {
  if (query >= extent.queries) return {0, 0};
  const int64_t at = static_cast<int64_t>(b) * a.time + query;
  Span seen{0, extent.keys};
  if (a.causal) seen.end = min(seen.end, extent.known + query + 1);
  if (a.starts) seen.first = a.starts[at];
  if (a.keyBegin) seen.first = max(a.keyBegin[at], 0);
  if (a.keyEnd) seen.end = min(seen.end, a.keyEnd[at]);
  return seen;
}

// Where the document of a key of row b starts. A query sees no document that starts after its own first key.
__device__ __forceinline__ int startOf(const StridedAttentionArguments& a, const RowExtent& extent, int b,
                                       int key) {
  return a.starts && key < extent.keys ? startsOf(a, b)[key] : 0;
}

__device__ __forceinline__ bool isSeen(const Span& seen, int key, int startOfKey) {
  return key >= seen.first && key < seen.end && startOfKey <= seen.first;
}

// Each lane keeps what one of the block's rows sees: fewer registers than all of a warp's rows in each lane.
__device__ __forceinline__ Span spanOfLane(const Span& mine, int lane) {
  return {__shfl_sync(0xffffffffu, mine.first, lane), __shfl_sync(0xffffffffu, mine.end, lane)};
}

// The keys that a block of queries meets. `span` already bounds them; ofLane is what each lane's query sees.
// Call with all lanes of a warp.
__device__ __forceinline__ Span withinRanges(const StridedAttentionArguments& a, Span span,
                                             const Span& ofLane) {
  if (!a.keyBegin && !a.keyEnd) return span;
  const bool isEmpty = ofLane.end <= ofLane.first;
  span.first = max(span.first, -warpMax(isEmpty ? INT_MIN + 1 : -ofLane.first));
  span.end = min(span.end, warpMax(isEmpty ? 0 : ofLane.end));
  return span;
}

// q (B, Tq, H, D→Dp), k and v (B, Tk, G, D→Dp) -> y (B, Tq, H, D→Dp), lse (B, H, Tq)
template <class T, int kHead>
__global__ void __launch_bounds__(kPlainThreads) plainForward(StridedAttentionArguments a, int tiles) {
  constexpr int kParts = kHead / 32;
  extern __shared__ __align__(16) float plainShared[];
  float *queryTile = plainShared, *keyTile = queryTile + kPlainRows * (kHead + 1);  // then values
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int bh = blockIdx.x / tiles, b = bh / a.heads, h = bh % a.heads;
  const int first = static_cast<int>(blockIdx.x % tiles) * kPlainRows, mine = warp * kWarpRows;
  const RowExtent extent = extentOf(a, b);
  const int32_t* starts = a.starts ? startsOf(a, b) : nullptr;
  const int64_t width = static_cast<int64_t>(a.heads) * a.head;
  const HeadRows<const T> rows = operandsOf<T>(a, b, h);
  const Span ofLane = keysOf(a, extent, b, first + lane);
  const Span keys = withinRanges(a, othersOf(a, starts, extent, first, kPlainRows, false), ofLane);
  const DropoutStream stream = dropoutStream(a, b, h);
  loadPlain<kHead>(queryTile, rows.q, a.queryStride, first, extent.queries, a.head);
  float sums[kWarpRows][kParts] = {}, maximum[kWarpRows], total[kWarpRows];
#pragma unroll
  for (int i = 0; i < kWarpRows; ++i) {
    maximum[i] = -FLT_MAX;  // a number: a query may see none of the first keys
    total[i] = 0;
  }
  for (int at = keys.first; first < extent.queries && at < keys.end; at += kPlainRows) {
    __syncthreads();
    loadPlain<kHead>(keyTile, rows.k, a.keyStride, at, extent.keys, a.head);
    __syncthreads();
    float p[kWarpRows] = {};
    for (int d = 0; d < a.head; ++d) {
      const float x = keyTile[lane * (kHead + 1) + d];
#pragma unroll
      for (int i = 0; i < kWarpRows; ++i) p[i] = fmaf(queryTile[(mine + i) * (kHead + 1) + d], x, p[i]);
    }
    const int key = at + lane, startOfKey = startOf(a, extent, b, key);
#pragma unroll
    for (int i = 0; i < kWarpRows; ++i) {
      const bool isKey = isSeen(spanOfLane(ofLane, mine + i), key, startOfKey);
      const float score = isKey ? p[i] * a.scale : -INFINITY;
      const float highest = warpMax(fmaxf(maximum[i], score)), correction = expf(maximum[i] - highest);
      const float e = isKey ? expf(score - highest) : 0.0f;
      maximum[i] = highest;
      total[i] = total[i] * correction + warpSum(e);
      p[i] = isKey ? e * plainFactor(a, stream, first + mine + i, key) : 0.0f;
#pragma unroll
      for (int c = 0; c < kParts; ++c) sums[i][c] *= correction;
    }
    __syncthreads();
    loadPlain<kHead>(keyTile, rows.v, a.keyStride, at, extent.keys, a.head);
    __syncthreads();
    for (int j = 0; j < kPlainRows; ++j) {
#pragma unroll
      for (int i = 0; i < kWarpRows; ++i) {
        const float weight = __shfl_sync(0xffffffffu, p[i], j);
#pragma unroll
        for (int c = 0; c < kParts; ++c) {
          sums[i][c] = fmaf(weight, keyTile[j * (kHead + 1) + lane + 32 * c], sums[i][c]);
        }
      }
    }
  }
  T* y = static_cast<T*>(a.y) + headOffset(a, b, h);
#pragma unroll
  for (int i = 0; i < kWarpRows; ++i) {
    const int query = first + mine + i;
    if (query >= a.time) continue;
    const bool isEmpty = total[i] == 0.0f;
#pragma unroll
    for (int c = 0; c < kParts; ++c) {
      const int d = lane + 32 * c;
      if (d < a.head) y[query * width + d] = fromFloat<T>(isEmpty ? 0.0f : sums[i][c] / total[i]);
    }
    if (a.lse && lane == 0) {
      a.lse[static_cast<int64_t>(bh) * a.time + query] = isEmpty ? -INFINITY : maximum[i] + logf(total[i]);
    }
  }
}

// Like attentionBackward in sm80_backward.cuh: the rows are queries (dQ), or keys (dK, dV) that loop over the
// queries of all heads in their group.
template <class T, int kHead, bool kKeysOwn>
__global__ void __launch_bounds__(kPlainThreads) plainBackward(StridedAttentionArguments a, int tiles) {
  constexpr int kParts = kHead / 32;
  extern __shared__ __align__(16) float plainShared[];
  float *tileX = plainShared, *tileY = tileX + kPlainRows * (kHead + 1);  // Q and dO, or K and V
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int members = kKeysOwn ? a.group : 1;
  const int bh = blockIdx.x / tiles * members, b = bh / a.heads, h = bh % a.heads;
  const int first = static_cast<int>(blockIdx.x % tiles) * kPlainRows, mine = first + warp * kWarpRows;
  const RowExtent extent = extentOf(a, b);
  const int length = kKeysOwn ? extent.keys : extent.queries;  // of the block's own rows
  const int otherLength = kKeysOwn ? extent.queries : extent.keys;
  const int time = kKeysOwn ? a.keyTime : a.time;
  const int32_t* starts = a.starts ? startsOf(a, b) : nullptr;
  const int64_t width = static_cast<int64_t>(a.heads) * a.head;
  const HeadRows<const T> rows = operandsOf<T>(a, b, h);
  const T* dy = static_cast<const T*>(a.dy) + headOffset(a, b, h);
  const T *own[kWarpRows], *ownSecond[kWarpRows];  // rows beyond the end are read as the last one
  // Of the block's row `lane`: what a query sees, where the document of a key starts.
  const Span ofLane = kKeysOwn ? Span{0, 0} : keysOf(a, extent, b, first + lane);
  const int startOfLane = kKeysOwn ? startOf(a, extent, b, first + lane) : 0;
#pragma unroll
  for (int i = 0; i < kWarpRows; ++i) {
    const int64_t row = mine + i < time ? mine + i : time - 1;
    own[i] = kKeysOwn ? rows.k + row * a.keyStride : rows.q + row * a.queryStride;
    ownSecond[i] = kKeysOwn ? rows.v + row * a.keyStride : dy + row * width;
  }
  Span others = othersOf(a, starts, extent, first, kPlainRows, kKeysOwn);
  if constexpr (!kKeysOwn) others = withinRanges(a, others, ofLane);
  float sumsS[kWarpRows][kParts] = {}, sumsP[kWarpRows][kParts] = {};
  for (int member = 0; member < members; ++member) {
    const T *q = rows.q + member * a.head, *dyOfHead = dy + member * a.head;
    const int64_t statisticsAt = static_cast<int64_t>(bh + member) * a.time;
    const float *lse = a.lse + statisticsAt, *delta = a.delta + statisticsAt;
    const DropoutStream stream = dropoutStream(a, b, h + member);
    for (int at = others.first; first < length && at < others.end; at += kPlainRows) {
      const int other = at + lane;
      Span seenByLane{0, 0};
      if constexpr (kKeysOwn) {
        // The lanes of each warp are the same queries, so either all warps skip the tile or none does.
        seenByLane = keysOf(a, extent, b, other);
        if (!__any_sync(0xffffffffu, seenByLane.first < first + kPlainRows && seenByLane.end > first))
          continue;
      }
      __syncthreads();
      loadPlain<kHead>(tileX, kKeysOwn ? q : rows.k, kKeysOwn ? a.queryStride : a.keyStride, at, otherLength,
                       a.head);
      loadPlain<kHead>(tileY, kKeysOwn ? dyOfHead : rows.v, kKeysOwn ? width : a.keyStride, at, otherLength,
                       a.head);
      __syncthreads();
      float p[kWarpRows] = {}, ds[kWarpRows] = {};
      for (int d = 0; d < a.head; ++d) {
        const float x = tileX[lane * (kHead + 1) + d], y = tileY[lane * (kHead + 1) + d];
#pragma unroll
        for (int i = 0; i < kWarpRows; ++i) {
          p[i] = fmaf(toFloat(own[i][d]), x, p[i]);
          ds[i] = fmaf(toFloat(ownSecond[i][d]), y, ds[i]);
        }
      }
      const int startOfOther = kKeysOwn ? 0 : startOf(a, extent, b, other);
#pragma unroll
      for (int i = 0; i < kWarpRows; ++i) {
        const int row = mine + i, key = kKeysOwn ? row : other, query = kKeysOwn ? other : row;
        const int laneOfRow = warp * kWarpRows + i;
        const bool isPair = kKeysOwn
                                ? isSeen(seenByLane, key, __shfl_sync(0xffffffffu, startOfLane, laneOfRow))
                                : isSeen(spanOfLane(ofLane, laneOfRow), key, startOfOther);
        const float probability = isPair ? expf(p[i] * a.scale - lse[query]) : 0.0f;
        const float factor = isPair ? plainFactor(a, stream, query, key) : 0.0f;
        p[i] = probability * factor;
        ds[i] = isPair ? probability * (ds[i] * factor - delta[query]) : 0.0f;
      }
      for (int j = 0; j < kPlainRows; ++j) {
#pragma unroll
        for (int i = 0; i < kWarpRows; ++i) {
          const float weightS = __shfl_sync(0xffffffffu, ds[i], j);
          const float weightP = kKeysOwn ? __shfl_sync(0xffffffffu, p[i], j) : 0.0f;
#pragma unroll
          for (int c = 0; c < kParts; ++c) {
            const int place = j * (kHead + 1) + lane + 32 * c;
            sumsS[i][c] = fmaf(weightS, tileX[place], sumsS[i][c]);
            if constexpr (kKeysOwn) sumsP[i][c] = fmaf(weightP, tileY[place], sumsP[i][c]);
          }
        }
      }
    }
  }
  const HeadRows<T> gradients = gradientsOf<T>(a, b, h);
#pragma unroll
  for (int i = 0; i < kWarpRows; ++i) {
    const int64_t row = mine + i;
    if (row >= time) continue;
#pragma unroll
    for (int c = 0; c < kParts; ++c) {
      const int d = lane + 32 * c;
      if (d >= a.head) continue;
      if constexpr (kKeysOwn) {
        gradients.k[row * a.keyStride + d] = fromFloat<T>(sumsS[i][c] * a.scale);
        gradients.v[row * a.keyStride + d] = fromFloat<T>(sumsP[i][c]);
      } else {
        gradients.q[row * a.queryStride + d] = fromFloat<T>(sumsS[i][c] * a.scale);
      }
    }
  }
}

template <class F>
void dispatchPlainHead(int head, F&& f) {
  if (head <= 64) return f(std::integral_constant<int, 64>{});
  if (head <= 128) return f(std::integral_constant<int, 128>{});
  f(std::integral_constant<int, 256>{});
}

// A block for each 32 of `time` rows of each of `heads` heads.
template <class KernelFunction>
void launchPlain(KernelFunction kernel, const StridedAttentionArguments& a, int heads, int time, int head,
                 const char* operation, cudaStream_t stream) {
  const int tiles = (time + kPlainRows - 1) / kPlainRows;
  const int bytes = 2 * kPlainRows * (head + 1) * static_cast<int>(sizeof(float));
  const unsigned blocks = static_cast<unsigned>(static_cast<int64_t>(a.batch) * heads * tiles);
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  kernel<<<blocks, kPlainThreads, bytes, stream>>>(a, tiles);
  cudaCheckLaunch(operation);
}

}  // namespace

template <class T>
void launchPlainForward(const StridedAttentionArguments& a, cudaStream_t stream) {
  dispatchPlainHead(a.head, [&](auto constant) {
    constexpr int kHead = decltype(constant)::value;
    launchPlain(plainForward<T, kHead>, a, a.heads, a.time, kHead, "attention", stream);
  });
}

template <class T>
void launchPlainBackward(const StridedAttentionArguments& a, cudaStream_t stream) {
  const char* const name = "attention_backward";
  dispatchPlainHead(a.head, [&](auto constant) {
    constexpr int kHead = decltype(constant)::value;
    launchPlain(plainBackward<T, kHead, true>, a, a.heads / a.group, a.keyTime, kHead, name, stream);
    launchPlain(plainBackward<T, kHead, false>, a, a.heads, a.time, kHead, name, stream);
  });
}

}  // namespace tesserae
