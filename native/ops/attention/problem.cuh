// The arguments of the CUDA kernels of attention. For .cu files only.
#pragma once

#include <cfloat>
#include <climits>

#include "ops/cuda_support.cuh"
#include "ops/state.h"
#include "runtime/philox.h"

namespace tesserae {

inline constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;

// A call with packed rows. Element (b, t, which, h, d) of qkv is at ((b T + t) 3 + which) width + h Dp + d,
// width = H Dp; the same in dqkv. y and dy: (b T + t) width + h Dp + d. lse and delta (B, H, T).
struct AttentionArguments {
  const void* qkv;
  void* y;
  float* lse;
  const void* dy;
  float* delta;  // rowsum(dy ∘ y)
  void* dqkv;
  const int32_t* lengths;
  const int32_t* starts;  // (B, T), null where each row is one document
  const Counters* counters;
  uint64_t site;
  int32_t batch, time, heads, head;  // time, heads: of queries; head: Dp
  float scale, dropout;
  bool causal;
};

// A call whose queries, keys and values are where the strides say, packed or in separate tensors. A separate
// type, because parameters that a kernel does not read still make register-limited kernels spill. Element (b,
// t, h, d) of q and dq is at (b T + t) queryStride + h Dp + d, that of k, v, dk and dv which head h of
// queries reads at (b keyTime + t) keyStride + h / group Dp + d.
struct StridedAttentionArguments : AttentionArguments {
  const void *q, *k, *v;
  void *dq, *dk, *dv;
  const int32_t *keyBegin, *keyEnd;  // (B, T), null where they bound no query's keys
  int32_t keyTime, group;            // keys of a row; heads of queries that share one of keys
  int32_t queryStride, keyStride;    // elements
  bool isPacked;                     // lengths are of queries too
};

// A call whose keys are in a cache: query t of row b is at position known[b] + t, and position p of k and v
// is at p / kPagePositions pageStride + (b kPagePositions + p % kPagePositions) keyStride + h / group Dp + d.
struct CachedAttentionArguments : StridedAttentionArguments {
  const int32_t* known;  // (B)
  int64_t pageStride;    // elements
};

// The length of row b: its positions that hold tokens, at most `time`.
__device__ __forceinline__ int lengthOf(const AttentionArguments& a, int b, int time) {
  if (!a.lengths) return time;
  const int length = a.lengths[b];
  return length < 0 ? 0 : (length < time ? length : time);
}

// A row uses its first `queries` queries and `keys` keys. Query i is at position known + i of the keys, so a
// causal one sees keys up to there. `known` is negative if there are more queries than keys.
struct RowExtent {
  int queries, keys, known;
};

__device__ __forceinline__ RowExtent extentOf(const AttentionArguments& a, int b) {
  const int length = lengthOf(a, b, a.time);
  return {length, length, 0};
}
__device__ __forceinline__ RowExtent extentOf(const CachedAttentionArguments& a, int b) {
  const int length = lengthOf(a, b, a.time), known = a.known[b];
  return {length, known + length, known};
}
__device__ __forceinline__ RowExtent extentOf(const StridedAttentionArguments& a, int b) {
  const int length = lengthOf(a, b, a.keyTime);
  return {a.isPacked ? length : a.time, length, a.keyTime - a.time};
}

// Row 0 of what a head of queries of row b reads, or of its gradients.
template <class T>
struct HeadRows {
  T *q, *k, *v;
};

template <class T>
__device__ __forceinline__ HeadRows<T> headRows(const AttentionArguments& a, T* qkv, int b, int h) {
  const int64_t width = static_cast<int64_t>(a.heads) * a.head;
  T* q = qkv + static_cast<int64_t>(b) * a.time * 3 * width + static_cast<int64_t>(h) * a.head;
  return {q, q + width, q + 2 * width};
}
template <class T>
__device__ __forceinline__ HeadRows<T> headRows(const StridedAttentionArguments& a, T* q, T* k, T* v, int b,
                                                int h) {
  const int64_t key = static_cast<int64_t>(b) * a.keyTime * a.keyStride + h / a.group * a.head;
  return {q + static_cast<int64_t>(b) * a.time * a.queryStride + static_cast<int64_t>(h) * a.head, k + key,
          v + key};
}

template <class T>
__device__ __forceinline__ HeadRows<const T> operandsOf(const AttentionArguments& a, int b, int h) {
  return headRows(a, static_cast<const T*>(a.qkv), b, h);
}
template <class T>
__device__ __forceinline__ HeadRows<const T> operandsOf(const StridedAttentionArguments& a, int b, int h) {
  return headRows(a, static_cast<const T*>(a.q), static_cast<const T*>(a.k), static_cast<const T*>(a.v), b,
                  h);
}
template <class T>
__device__ __forceinline__ HeadRows<T> gradientsOf(const AttentionArguments& a, int b, int h) {
  return headRows(a, static_cast<T*>(a.dqkv), b, h);
}
template <class T>
__device__ __forceinline__ HeadRows<T> gradientsOf(const StridedAttentionArguments& a, int b, int h) {
  return headRows(a, static_cast<T*>(a.dq), static_cast<T*>(a.dk), static_cast<T*>(a.dv), b, h);
}

// Elements from one row of queries to the next, and of keys and values.
__device__ __forceinline__ int queryStrideOf(const AttentionArguments& a) { return 3 * a.heads * a.head; }
__device__ __forceinline__ int queryStrideOf(const StridedAttentionArguments& a) { return a.queryStride; }
__device__ __forceinline__ int keyStrideOf(const AttentionArguments& a) { return 3 * a.heads * a.head; }
__device__ __forceinline__ int keyStrideOf(const StridedAttentionArguments& a) { return a.keyStride; }

// Keys of a row, and heads of queries that share a head of keys.
__host__ __device__ inline int keyTimeOf(const AttentionArguments& a) { return a.time; }
__host__ __device__ inline int keyTimeOf(const StridedAttentionArguments& a) { return a.keyTime; }
__host__ __device__ inline int groupOf(const AttentionArguments&) { return 1; }
__host__ __device__ inline int groupOf(const StridedAttentionArguments& a) { return a.group; }

// For each position of row b, the position of its document's first token. Rows with documents have kernels of
// their own (kDocuments): the registers that this takes would slow the others down.
__device__ __forceinline__ const int32_t* startsOf(const AttentionArguments& a, int b) {
  return a.starts + static_cast<int64_t>(b) * a.time;
}

// One past the last position of t's document, at most `length`. Call with all lanes of a warp: they probe 32
// positions at a time, since documents are contiguous.
__device__ inline int documentEnd(const int32_t* starts, int t, int length) {
  const int start = starts[t], lane = static_cast<int>(threadIdx.x % 32);
  int low = t + 1, high = length;  // the end is one of low…high
  while (low < high) {
    const int step = (high - low + 31) / 32, probe = low + (lane + 1) * step - 1;
    const bool inside = probe < high && starts[probe] == start;
    low += __popc(__ballot_sync(0xffffffffu, inside)) * step;
    high = min(high, low + step - 1);
  }
  return low;
}

// Positions first..end - 1.
struct Span {
  int first, end;
};

// The span that rows first..first + rows - 1 meet: for queries, the keys that they see; for keys (keysOwn),
// the queries that see them. Row `first` must be in use. Call with all lanes of a warp.
__device__ __forceinline__ Span othersOf(const AttentionArguments& a, const int32_t* starts,
                                         const RowExtent& extent, int first, int rows, bool keysOwn) {
  Span span{0, keysOwn ? extent.queries : extent.keys};
  if (keysOwn && a.causal) span.first = max(first - extent.known, 0);
  if (!keysOwn && a.causal) span.end = min(extent.known + first + rows, extent.keys);
  const int length = extent.queries;  // and of keys: rows with documents are packed
  if (starts && first < length) {
    if (!keysOwn || !a.causal) span.first = starts[first];
    if (keysOwn || !a.causal) span.end = documentEnd(starts, min(first + rows, length) - 1, length);
  }
  return span;
}

// What a warp's rows see of the other side. Outside `any`, no row of the warp has its document; inside `all`,
// every row does. Kept in shared memory to save registers.
struct alignas(16) WarpDocuments {
  Span any, all;
  __device__ __forceinline__ bool isUnmet(int at, int atEnd) const {
    return atEnd <= any.first || at >= any.end;
  }
  __device__ __forceinline__ bool isMixed(int at, int atEnd) const {
    return at < all.first || atEnd > all.end;
  }
};

// Leaves open what a causal mask already bounds. Call with all lanes of a warp.
__device__ __forceinline__ WarpDocuments documentsOf(const AttentionArguments& a, const int32_t* starts,
                                                     int first, int rows, int length, bool keysOwn) {
  WarpDocuments documents{{0, INT_MAX}, {0, INT_MAX}};
  if (!starts || first >= length) return documents;
  const int last = min(first + rows, length) - 1;
  if (!keysOwn || !a.causal) {
    documents.any.first = starts[first];
    documents.all.first = starts[last];
  }
  if (keysOwn || !a.causal) {
    documents.any.end = documentEnd(starts, last, length);
    documents.all.end = documentEnd(starts, first, length);
  }
  return documents;
}

// Where head h of row b begins in y.
__device__ __forceinline__ int64_t headOffset(const AttentionArguments& a, int b, int h) {
  return static_cast<int64_t>(b) * a.time * a.heads * a.head + static_cast<int64_t>(h) * a.head;
}

// The random numbers of a head of a row. Key and counters are those of the CPU: one Philox block serves four
// keys of a query.
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
    s.key = static_cast<uint64_t>(a.counters->seed) ^ a.site;
    s.firstRow = static_cast<uint32_t>(h) * static_cast<uint32_t>(a.time);
    s.sample = static_cast<uint32_t>(a.counters->firstSample) + static_cast<uint32_t>(b);
    s.attempted = static_cast<uint32_t>(a.counters->attempted);
  }
  return s;
}

}  // namespace tesserae
