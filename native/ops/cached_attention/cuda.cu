#include <cmath>
#include <type_traits>

#include "ops/attention/sm80.cuh"
#include "ops/attributes.h"
#include "ops/cuda_dependent_launch.cuh"
#include "ops/cuda_support.cuh"
#include "ops/registry.h"
#include "ops/sampling.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;
constexpr int kAhead = 4;                     // keys of a group in flight
static_assert(kPagePositions % kAhead == 0);  // none of its runs crosses a page

struct Shape {
  int32_t time, heads, group,
      width;  // group: heads of queries that share one of keys; width: of a head, physical
  int64_t pageStride, rowStride;  // elements of the cache from one page, one row to the next
};

// The new positions: element (b, t, h, d) of q is at (b T + t) queryStride + h width + d, the one of k and v
// at (b T + t) keyStride + h / group width + d.
template <class T>
struct NewPositions {
  const T *q, *k, *v;
  int32_t queryStride, keyStride;
};

// Elements 2 i and 2 i + 1. bf16 is unpacked by hand, because nvcc 13 spends a register on each element.
template <class T>
__device__ __forceinline__ float2 pairOf(const Packed<T>& packed, int i) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    const uint32_t word = reinterpret_cast<const uint32_t*>(&packed)[i];
    return {__uint_as_float(word << 16), __uint_as_float(word & 0xffff0000u)};
  } else {
    return {toFloat(packed.v[2 * i]), toFloat(packed.v[2 * i + 1])};
  }
}

// A block for each (row, head, query). kLanes threads, a power of two, form a group that takes every
// (groups)-th run of kAhead keys with an online softmax (Milakov & Gimelshein 2018); each holds eight
// elements of the query and of its group's output. At the end the groups' outputs are combined in order.
// kOne: one query per row; the block writes its key and value to the cache before it reads the cache.
// Otherwise the block of each query writes its own position, in any order, and reads new positions from the
// input. Blocks whose heads share a head of keys write the same numbers.
template <class T, int kLanes, bool kOne>
__global__ void __launch_bounds__(kThreads, sizeof(T) == 2 ? 3 : 2)
    attentionKernel(NewPositions<T> fresh, T* keys, T* values, const int32_t* start, const int32_t* lengths,
                    T* y, Shape s, float scale) {
  constexpr int kGroups = kThreads / kLanes;
  __shared__ float outputs[kGroups][kLanes * kVector];
  __shared__ float maxima[kGroups], totals[kGroups], weights[kGroups];
  const int time = kOne ? 1 : s.time;
  const int t = static_cast<int>(blockIdx.x) % time, head = static_cast<int>(blockIdx.x) / time % s.heads,
            b = static_cast<int>(blockIdx.x) / time / s.heads;
  const int row = s.heads / s.group * s.width, inRow = head / s.group * s.width;  // elements of the cache
  T* out = y + ((static_cast<int64_t>(b) * time + t) * s.heads + head) * s.width;
  releaseSuccessor();
  awaitPredecessor();
  if (t >= lengths[b]) {
    for (int d = threadIdx.x; d < s.width; d += kThreads) out[d] = fromFloat<T>(0.0f);
    return;
  }
  const int known = start[b], visible = known + t + 1;
  const int group = threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
  const int column = lane * kVector;
  const bool holds = column < s.width;  // lanes beyond the width of a head only exchange
  // This lane's part of position 0 in the cache, and of the key and the value at the query's own position.
  const int64_t cache = b * s.rowStride + inRow + column;
  const int64_t own = (static_cast<int64_t>(b) * time + t) * fresh.keyStride + inRow + column;
  if (group == 0 && holds) {
    const int position = visible - 1;
    const int64_t to = position / kPagePositions * s.pageStride + position % kPagePositions * row + cache;
    storePacked(keys + to, loadPacked(fresh.k + own));
    storePacked(values + to, loadPacked(fresh.v + own));
  }
  if constexpr (kOne) __syncthreads();

  float query[kVector] = {}, sum[kVector] = {};
  if (holds) {
    loadVector(fresh.q + (static_cast<int64_t>(b) * time + t) * fresh.queryStride + head * s.width + column,
               query);
#pragma unroll
    for (int i = 0; i < kVector; ++i) query[i] *= scale;
  }
  float maximum = -INFINITY, total = 0;
  // All groups of a warp make the same number of rounds: lanes exchange under a full mask.
  for (int round = 0; round < visible; round += kGroups * kAhead) {
    const int first = round + group * kAhead;
    const int64_t run = first / kPagePositions * s.pageStride + first % kPagePositions * row + cache;
    Packed<T> key[kAhead], value[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      if (!holds || first + j >= visible) continue;
      const T *fromKey = keys + run + j * row, *fromValue = values + run + j * row;
      if (!kOne && first + j >= known) {
        const int64_t at = own + static_cast<int64_t>(first + j - visible + 1) * fresh.keyStride;
        fromKey = fresh.k + at;
        fromValue = fresh.v + at;
      }
      key[j] = loadPacked(fromKey);
      value[j] = loadPacked(fromValue);
    }
    float score[kAhead];
    float largest = maximum;
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      float dot = 0;
      if (holds && first + j < visible) {
#pragma unroll
        for (int i = 0; i < kVector / 2; ++i) {
          const float2 pair = pairOf(key[j], i);
          dot += query[2 * i] * pair.x;
          dot += query[2 * i + 1] * pair.y;
        }
      }
#pragma unroll
      for (int offset = kLanes / 2; offset > 0; offset /= 2) dot += __shfl_xor_sync(0xffffffffu, dot, offset);
      score[j] = first + j < visible ? dot : -INFINITY;
      largest = score[j] > largest ? score[j] : largest;
    }
    if (first >= visible) continue;
    const float shrink = maximum == largest ? 1.0f : expf(maximum - largest);
    maximum = largest;
    total *= shrink;
#pragma unroll
    for (int i = 0; i < kVector; ++i) sum[i] *= shrink;
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      if (first + j >= visible) continue;
      const float weight = expf(score[j] - maximum);
      total += weight;
      if (holds) {
#pragma unroll
        for (int i = 0; i < kVector / 2; ++i) {
          const float2 pair = pairOf(value[j], i);
          sum[2 * i] += weight * pair.x;
          sum[2 * i + 1] += weight * pair.y;
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kVector; ++i) outputs[group][column + i] = sum[i];
  if (lane == 0) {
    maxima[group] = maximum;
    totals[group] = total;
  }
  __syncthreads();
  if (threadIdx.x < kGroups) {
    float largest = maxima[0];  // the first group has a key; those without weigh nothing
#pragma unroll
    for (int g = 1; g < kGroups; ++g) largest = maxima[g] > largest ? maxima[g] : largest;
    const float weight = expf(maxima[threadIdx.x] - largest);
    weights[threadIdx.x] = weight;
    totals[threadIdx.x] *= weight;
  }
  __syncthreads();
  const int d = threadIdx.x;  // kThreads is at least the width of a head
  if (d >= s.width) return;
  float numerator = 0, denominator = 0;
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    numerator += weights[g] * outputs[g][d];
    denominator += totals[g];
  }
  out[d] = fromFloat<T>(numerator / denominator);
}

// Keys and values of new positions into the cache: a thread for each vector of either, (B, T, 2, G, D→Dp).
template <class T>
__global__ void __launch_bounds__(kThreads)
    appendKernel(NewPositions<T> fresh, T* keys, T* values, const int32_t* start, const int32_t* lengths,
                 Shape s, int64_t vectors) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  releaseSuccessor();
  awaitPredecessor();
  if (index >= vectors) return;
  const int row = s.heads / s.group * s.width;
  const int64_t column = index % (row / kVector) * kVector;
  const int64_t which = index / (row / kVector) % 2, position = index / (row / kVector) / 2;
  const int64_t t = position % s.time, b = position / s.time;
  if (t >= lengths[b]) return;
  const int64_t at = start[b] + t;
  const int64_t to =
      at / kPagePositions * s.pageStride + b * s.rowStride + at % kPagePositions * row + column;
  storePacked((which == 0 ? keys : values) + to,
              loadPacked((which == 0 ? fresh.k : fresh.v) + position * fresh.keyStride + column));
}

// Many new positions: tiles of queries and keys on the tensor cores, after the new keys are in the cache. A
// position's result depends neither on how many come with it nor on how many were there before.
template <class T>
void readPrompt(const KernelContext& c, const Shape& s, const NewPositions<T>& fresh, T* keys, T* values,
                float scale) {
  const TensorView &start = c.inputs[2], &lengths = c.inputs[3], &y = c.outputs[0];
  const int64_t batch = y.factors[0].physical;
  const int64_t vectors = batch * s.time * 2 * (s.heads / s.group * s.width / kVector);
  launchDependent("cached_attention", appendKernel<T>,
                  dim3(static_cast<unsigned>(divideUp(vectors, kThreads))), kThreads, cudaStream(c), fresh,
                  keys, values, start.i32(), lengths.i32(), s, vectors);
  CachedAttentionArguments a{};
  a.q = fresh.q;
  a.k = keys;
  a.v = values;
  a.queryStride = fresh.queryStride;
  a.keyStride = s.heads / s.group * s.width;
  a.group = s.group;
  a.y = y.data;
  a.lengths = lengths.i32();
  a.batch = static_cast<int32_t>(batch);
  a.time = static_cast<int32_t>(s.time);
  a.heads = static_cast<int32_t>(s.heads);
  a.head = static_cast<int32_t>(s.width);
  a.scale = scale;
  a.causal = true;
  a.known = start.i32();
  a.pageStride = s.pageStride;
  launchCachedForward16<T>(a, cudaStream(c));
}

// Calls f(lanes) with a constant: the number of threads that hold a head's features.
template <class F>
void dispatchLanes(int64_t width, F&& f) {
  requireVectors("cached_attention", width);
  const int64_t vectors = width / kVector;
  if (vectors <= 4) return f(std::integral_constant<int, 4>{});
  if (vectors <= 8) return f(std::integral_constant<int, 8>{});
  if (vectors <= 16) return f(std::integral_constant<int, 16>{});
  if (vectors <= 32) return f(std::integral_constant<int, 32>{});
  fail(ErrorCode::Config, "cached_attention: heads of %lld features are wider than the 256 that CUDA takes",
       static_cast<long long>(width));
}

// One new position a row; several of 16-bit types on tensor cores; several of any type.
enum class Use { Step, TiledPrompt, Prompt };

template <Use kUse>
void cachedAttention(const KernelContext& c) {
  const char* const name = "cached_attention";
  const bool isPacked = c.inputs[0].data != nullptr;
  const TensorView& q = c.inputs[isPacked ? 0 : 4];   // (B, T, 3, H, D→Dp) or (B, T, H, D→Dp)
  const TensorView& kv = c.inputs[isPacked ? 0 : 5];  // the same or (B, T, 2, G, D→Dp)
  const TensorView &start = c.inputs[2], &lengths = c.inputs[3];
  const TensorView &y = c.outputs[0], &cache = c.outputs[1];  // (pages, layers, 2, B, positions, G, D→Dp)
  requireTypes(name, y.dtype, {&q, &kv, &cache});
  const int64_t batch = y.factors[0].physical, time = y.factors[1].physical;
  const int64_t heads = y.factors[2].physical, width = y.factors[3].physical;
  const int64_t keyHeads = kv.factors[3].physical, keyRow = keyHeads * width;
  const int64_t rowStride = kPagePositions * keyRow, kindStride = batch * rowStride;
  const Shape s{static_cast<int32_t>(time),
                static_cast<int32_t>(heads),
                static_cast<int32_t>(heads / keyHeads),
                static_cast<int32_t>(width),
                cache.factors[1].physical * 2 * kindStride,
                rowStride};
  const int64_t layer = c.attributes->integer("layer", 0) * 2 * kindStride;
  const float scale = static_cast<float>(
      c.attributes->number("scale", 1 / std::sqrt(static_cast<double>(kv.factors[4].logical))));
  dispatchActivationType(y.dtype, name, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    T* keys = static_cast<T*>(cache.data) + layer;
    const T* newKeys = static_cast<const T*>(kv.data) + (isPacked ? keyRow : 0);
    const NewPositions<T> fresh{static_cast<const T*>(q.data), newKeys, newKeys + keyRow,
                                static_cast<int32_t>(q.columns), static_cast<int32_t>(kv.columns)};
    if constexpr (kUse == Use::TiledPrompt) {
      if constexpr (!std::is_same_v<T, float>) readPrompt(c, s, fresh, keys, keys + kindStride, scale);
    } else if constexpr (kUse == Use::Step || std::is_same_v<T, float>) {
      dispatchLanes(width, [&](auto lanes) {
        launchDependent(name, attentionKernel<T, decltype(lanes)::value, kUse == Use::Step>,
                        dim3(static_cast<unsigned>(batch * heads * time)), kThreads, cudaStream(c), fresh,
                        keys, keys + kindStride, start.i32(), lengths.i32(), static_cast<T*>(y.data), s,
                        scale);
      });
    }
  });
}

}  // namespace

void register_cached_attention_cuda(KernelRegistry& registry) {
  registry.add("cached_attention/step", cachedAttention<Use::Step>);
  registry.add("cached_attention/sm80_prompt", cachedAttention<Use::TiledPrompt>);
  registry.add("cached_attention/prompt", cachedAttention<Use::Prompt>);
}

}  // namespace tesserae
