// Attention in fp32 multiply-adds: right, and far from the tensor cores' speed. A block has 32 rows, a warp 4
// of them; the lanes are 32 rows of the other side.
#pragma once

#include <type_traits>

#include "ops/attention/problem.cuh"

namespace tesserae {

namespace {

constexpr int kPlainThreads = 256, kPlainRows = 32, kWarpRows = 4;

// Rows first… of a head into a tile (32, kHead + 1): lanes that read a column find 32 banks.
template <int kHead>
__device__ __forceinline__ void loadPlain(float* tile, const float* from, int64_t stride, int first,
                                          int limit, int head) {
  for (int index = threadIdx.x; index < kPlainRows * kHead; index += kPlainThreads) {
    const int row = index / kHead, d = index % kHead;
    tile[row * (kHead + 1) + d] = first + row < limit && d < head ? from[(first + row) * stride + d] : 0.0f;
  }
}

// 0 or 1 / (1 - dropout)
__device__ __forceinline__ float plainFactor(const AttentionArguments& a, const DropoutStream& s, int query,
                                             int key) {
  if (!(a.dropout > 0)) return 1.0f;
  return s.keptOfFour(key / 4, query) >> key % 4 & 1u ? 1.0f / (1.0f - a.dropout) : 0.0f;
}

template <int kHead, bool kDocuments>
__global__ void __launch_bounds__(kPlainThreads, kDocuments ? 1 : 0)
    plainForward(AttentionArguments a, int tiles) {
  constexpr int kParts = kHead / 32;
  extern __shared__ __align__(16) float plainShared[];
  float *queryTile = plainShared, *keyTile = queryTile + kPlainRows * (kHead + 1);  // then values
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int bh = blockIdx.x / tiles, b = bh / a.heads, h = bh % a.heads;
  const int first = static_cast<int>(blockIdx.x % tiles) * kPlainRows, mine = warp * kWarpRows;
  const int length = lengthOf(a, b);
  const int32_t* starts = kDocuments ? startsOf(a, b) : nullptr;
  const int64_t width = static_cast<int64_t>(a.heads) * a.head, packed = 3 * width;
  const float* qkv = static_cast<const float*>(a.qkv);
  const float *k = qkv + headOffset(a, b, h, 1), *v = qkv + headOffset(a, b, h, 2);
  const Span keys = othersOf(a, starts, first, kPlainRows, length, false);
  const DropoutStream stream = dropoutStream(a, b, h);
  loadPlain<kHead>(queryTile, qkv + headOffset(a, b, h, 0), packed, first, length, a.head);
  float sums[kWarpRows][kParts] = {}, maximum[kWarpRows], total[kWarpRows];
  for (int i = 0; i < kWarpRows; ++i) {
    maximum[i] = -FLT_MAX;  // a number: the first keys may all be of other documents
    total[i] = 0;
  }
  for (int at = keys.first; first < length && at < keys.end; at += kPlainRows) {
    __syncthreads();
    loadPlain<kHead>(keyTile, k, packed, at, length, a.head);
    __syncthreads();
    float p[kWarpRows] = {};
    for (int d = 0; d < a.head; ++d) {
      const float x = keyTile[lane * (kHead + 1) + d];
#pragma unroll
      for (int i = 0; i < kWarpRows; ++i) p[i] = fmaf(queryTile[(mine + i) * (kHead + 1) + d], x, p[i]);
    }
    const int key = at + lane;
#pragma unroll
    for (int i = 0; i < kWarpRows; ++i) {
      const int query = first + mine + i;
      const bool seen = key < length && (!a.causal || key <= query) &&
                        (!starts || (query < length && starts[key] == starts[query]));
      const float score = seen ? p[i] * a.scale : -INFINITY;
      const float highest = warpMax(fmaxf(maximum[i], score)), correction = expf(maximum[i] - highest);
      const float e = seen ? expf(score - highest) : 0.0f;
      maximum[i] = highest;
      total[i] = total[i] * correction + warpSum(e);
      p[i] = seen ? e * plainFactor(a, stream, query, key) : 0.0f;
#pragma unroll
      for (int c = 0; c < kParts; ++c) sums[i][c] *= correction;
    }
    __syncthreads();
    loadPlain<kHead>(keyTile, v, packed, at, length, a.head);
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
  float* y = static_cast<float*>(a.y) + headOffset(a, b, h);
#pragma unroll
  for (int i = 0; i < kWarpRows; ++i) {
    const int query = first + mine + i;
    if (query >= a.time) continue;
    const bool inside = query < length;
#pragma unroll
    for (int c = 0; c < kParts; ++c) {
      const int d = lane + 32 * c;
      if (d < a.head) y[query * width + d] = inside ? sums[i][c] / total[i] : 0.0f;
    }
    if (a.lse && lane == 0) {
      a.lse[static_cast<int64_t>(bh) * a.time + query] = inside ? maximum[i] + logf(total[i]) : -INFINITY;
    }
  }
}

// As attentionBackward in sm80_backward.cuh: the rows are keys (dK, dV) or queries (dQ).
template <int kHead, bool kKeysOwn, bool kDocuments>
__global__ void __launch_bounds__(kPlainThreads, kDocuments ? 1 : 0)
    plainBackward(AttentionArguments a, int tiles) {
  constexpr int kParts = kHead / 32;
  extern __shared__ __align__(16) float plainShared[];
  float *tileX = plainShared, *tileY = tileX + kPlainRows * (kHead + 1);  // Q and dO, or K and V
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int bh = blockIdx.x / tiles, b = bh / a.heads, h = bh % a.heads;
  const int first = static_cast<int>(blockIdx.x % tiles) * kPlainRows, mine = first + warp * kWarpRows;
  const int length = lengthOf(a, b);
  const int32_t* starts = kDocuments ? startsOf(a, b) : nullptr;
  const int64_t width = static_cast<int64_t>(a.heads) * a.head, packed = 3 * width;
  const float* qkv = static_cast<const float*>(a.qkv);
  const float* dy = static_cast<const float*>(a.dy) + headOffset(a, b, h);
  const float *q = qkv + headOffset(a, b, h, 0), *k = qkv + headOffset(a, b, h, 1),
              *v = qkv + headOffset(a, b, h, 2);
  const float *lse = a.lse + static_cast<int64_t>(bh) * a.time,
              *delta = a.delta + static_cast<int64_t>(bh) * a.time;
  const float *own[kWarpRows], *ownSecond[kWarpRows];  // rows beyond the end are read as the last one
  for (int i = 0; i < kWarpRows; ++i) {
    const int64_t row = mine + i < a.time ? mine + i : a.time - 1;
    own[i] = (kKeysOwn ? k : q) + row * packed;
    ownSecond[i] = kKeysOwn ? v + row * packed : dy + row * width;
  }
  const DropoutStream stream = dropoutStream(a, b, h);
  const Span others = othersOf(a, starts, first, kPlainRows, length, kKeysOwn);
  float sumsS[kWarpRows][kParts] = {}, sumsP[kWarpRows][kParts] = {};
  for (int at = others.first; first < length && at < others.end; at += kPlainRows) {
    __syncthreads();
    loadPlain<kHead>(tileX, kKeysOwn ? q : k, packed, at, length, a.head);
    loadPlain<kHead>(tileY, kKeysOwn ? dy : v, kKeysOwn ? width : packed, at, length, a.head);
    __syncthreads();
    float p[kWarpRows] = {}, ds[kWarpRows] = {};
    for (int d = 0; d < a.head; ++d) {
      const float x = tileX[lane * (kHead + 1) + d], y = tileY[lane * (kHead + 1) + d];
#pragma unroll
      for (int i = 0; i < kWarpRows; ++i) {
        p[i] = fmaf(own[i][d], x, p[i]);
        ds[i] = fmaf(ownSecond[i][d], y, ds[i]);
      }
    }
#pragma unroll
    for (int i = 0; i < kWarpRows; ++i) {
      const int row = mine + i, other = at + lane;
      const int key = kKeysOwn ? row : other, query = kKeysOwn ? other : row;
      const bool seen = key < length && query < length && (!a.causal || key <= query) &&
                        (!starts || starts[key] == starts[query]);
      const float probability = seen ? expf(p[i] * a.scale - lse[query]) : 0.0f;
      const float factor = seen ? plainFactor(a, stream, query, key) : 0.0f;
      p[i] = probability * factor;
      ds[i] = seen ? probability * (ds[i] * factor - delta[query]) : 0.0f;
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
  float* dqkv = static_cast<float*>(a.dqkv);
#pragma unroll
  for (int i = 0; i < kWarpRows; ++i) {
    if (mine + i >= a.time) continue;
#pragma unroll
    for (int c = 0; c < kParts; ++c) {
      const int d = lane + 32 * c;
      if (d >= a.head) continue;
      dqkv[headOffset(a, b, h, kKeysOwn ? 1 : 0) + (mine + i) * packed + d] = sumsS[i][c] * a.scale;
      if constexpr (kKeysOwn) dqkv[headOffset(a, b, h, 2) + (mine + i) * packed + d] = sumsP[i][c];
    }
  }
}

template <class F>
void dispatchPlainHead(int head, F&& f) {
  if (head <= 64) return f(std::integral_constant<int, 64>{});
  if (head <= 128) return f(std::integral_constant<int, 128>{});
  f(std::integral_constant<int, 256>{});
}

template <class KernelFunction>
void launchPlain(KernelFunction kernel, const AttentionArguments& a, int head, const char* operation,
                 cudaStream_t stream) {
  const int tiles = (a.time + kPlainRows - 1) / kPlainRows;
  const int bytes = 2 * kPlainRows * (head + 1) * static_cast<int>(sizeof(float));
  const unsigned blocks = static_cast<unsigned>(static_cast<int64_t>(a.batch) * a.heads * tiles);
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  kernel<<<blocks, kPlainThreads, bytes, stream>>>(a, tiles);
  cudaCheckLaunch(operation);
}

template <bool kDocuments>
void launchPlainForward(const AttentionArguments& a, cudaStream_t stream) {
  dispatchPlainHead(a.head, [&](auto constant) {
    constexpr int kHead = decltype(constant)::value;
    launchPlain(plainForward<kHead, kDocuments>, a, kHead, "attention", stream);
  });
}

template <bool kDocuments>
void launchPlainBackward(const AttentionArguments& a, cudaStream_t stream) {
  dispatchPlainHead(a.head, [&](auto constant) {
    constexpr int kHead = decltype(constant)::value;
    launchPlain(plainBackward<kHead, true, kDocuments>, a, kHead, "attention_backward", stream);
    launchPlain(plainBackward<kHead, false, kDocuments>, a, kHead, "attention_backward", stream);
  });
}

}  // namespace

}  // namespace tesserae
