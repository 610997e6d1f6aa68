#include <cmath>
#include <type_traits>

#include "ops/attributes.h"
#include "ops/cuda_support.cuh"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;
constexpr int kAhead = 4;  // keys of a group in flight

struct Shape {
  int64_t time, heads, width, positions;  // width: of a head, physical
};

// Keys and values of the new positions to their place in the cache, eight elements a thread.
template <class T>
__global__ void __launch_bounds__(kThreads)
    appendKernel(const T* qkv, T* keys, T* values, const int32_t* start, const int32_t* lengths, Shape s,
                 int64_t vectors) {
  const int64_t vector = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (vector >= vectors) return;
  const int64_t row = s.heads * s.width, vectorsOfRow = row / kVector;
  const int64_t token = vector / vectorsOfRow, column = vector % vectorsOfRow * kVector;
  const int64_t b = token / s.time, t = token % s.time, position = start[b] + t;
  // A finished row steps on until the host looks: never beyond its cache.
  if (t >= lengths[b] || position >= s.positions) return;
  const T* from = qkv + token * 3 * row + column;
  const int64_t to = (b * s.positions + position) * row + column;
  *reinterpret_cast<Packed<T>*>(keys + to) = loadPacked(from + row);
  *reinterpret_cast<Packed<T>*>(values + to) = loadPacked(from + 2 * row);
}

// A block for each (row, head, query). kLanes threads, a power of two, form a group that takes every
// (groups)-th run of kAhead keys with an online softmax (Milakov & Gimelshein 2018); each holds eight
// elements of the query and of its group's output. At the end the groups' outputs are weighed in their order.
template <class T, int kLanes>
__global__ void __launch_bounds__(kThreads)
    attentionKernel(const T* qkv, const T* keys, const T* values, const int32_t* start,
                    const int32_t* lengths, T* y, Shape s, float scale) {
  constexpr int kGroups = kThreads / kLanes;
  __shared__ float outputs[kGroups][kLanes * kVector];
  __shared__ float maxima[kGroups], totals[kGroups];
  const int64_t t = blockIdx.x % s.time, head = blockIdx.x / s.time % s.heads,
                b = blockIdx.x / s.time / s.heads;
  const int64_t row = s.heads * s.width;
  T* out = y + (b * s.time + t) * row + head * s.width;
  const int64_t room = s.positions - start[b], fresh = lengths[b] < room ? lengths[b] : room;
  if (t >= fresh) {
    for (int64_t d = threadIdx.x; d < s.width; d += kThreads) out[d] = fromFloat<T>(0.0f);
    return;
  }
  const int64_t visible = start[b] + t + 1;
  const int group = threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
  const int64_t column = lane * kVector;
  const bool holds = column < s.width;  // lanes beyond the width of a head only take part in exchanges
  const int64_t cache = b * s.positions * row + head * s.width + column;

  float query[kVector] = {}, sum[kVector] = {};
  if (holds) {
    loadVector(qkv + (b * s.time + t) * 3 * row + head * s.width + column, query);
#pragma unroll
    for (int i = 0; i < kVector; ++i) query[i] *= scale;
  }
  float maximum = -INFINITY, total = 0;
  // All groups of a warp make the same number of rounds: lanes exchange under a full mask.
  for (int64_t round = 0; round < visible; round += kGroups * kAhead) {
    const int64_t first = round + group * kAhead;
    Packed<T> key[kAhead], value[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      if (holds && first + j < visible) {
        key[j] = loadPacked(keys + cache + (first + j) * row);
        value[j] = loadPacked(values + cache + (first + j) * row);
      }
    }
    float score[kAhead];
    float largest = maximum;
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      float dot = 0;
      if (holds && first + j < visible) {
#pragma unroll
        for (int i = 0; i < kVector; ++i) dot += query[i] * toFloat(key[j].v[i]);
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
        for (int i = 0; i < kVector; ++i) sum[i] += weight * toFloat(value[j].v[i]);
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
  const int64_t d = threadIdx.x;  // kThreads is at least the width of a head
  if (d >= s.width) return;
  float largest = maxima[0];  // the first group has a key
  for (int g = 1; g < kGroups; ++g) largest = maxima[g] > largest ? maxima[g] : largest;
  float numerator = 0, denominator = 0;
  for (int g = 0; g < kGroups; ++g) {
    if (g * kAhead >= visible) break;  // groups from here on have had no key
    const float weight = expf(maxima[g] - largest);
    numerator += weight * outputs[g][d];
    denominator += weight * totals[g];
  }
  out[d] = fromFloat<T>(numerator / denominator);
}

// Calls f(lanes) with a constant: the threads that hold a head's features.
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

void cachedAttention(const KernelContext& c) {
  const char* const name = "cached_attention";
  const TensorView &qkv = c.inputs[0], &start = c.inputs[3], &lengths = c.inputs[4];  // (B, T, 3, H, D→Dp)
  const TensorView &y = c.outputs[0], &keys = c.outputs[1], &values = c.outputs[2];   // (B, K, H, D→Dp)
  requireTypes(name, qkv.dtype, {&y, &keys, &values});
  const Shape s{qkv.factors[1].physical, qkv.factors[3].physical, qkv.factors[4].physical,
                keys.factors[1].physical};
  const int64_t batch = qkv.factors[0].physical;
  const float scale = static_cast<float>(
      c.attributes->number("scale", 1 / std::sqrt(static_cast<double>(qkv.factors[4].logical))));
  const int64_t vectors = batch * s.time * s.heads * s.width / kVector;
  dispatchActivationType(qkv.dtype, name, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    dispatchLanes(s.width, [&](auto lanes) {
      const T* packed = static_cast<const T*>(qkv.data);
      T *keyCache = static_cast<T*>(keys.data), *valueCache = static_cast<T*>(values.data);
      appendKernel<T><<<static_cast<unsigned>(divideUp(vectors, kThreads)), kThreads, 0, cudaStream(c)>>>(
          packed, keyCache, valueCache, start.i32(), lengths.i32(), s, vectors);
      cudaCheckLaunch(name);
      attentionKernel<T, decltype(lanes)::value>
          <<<static_cast<unsigned>(batch * s.heads * s.time), kThreads, 0, cudaStream(c)>>>(
              packed, keyCache, valueCache, start.i32(), lengths.i32(), static_cast<T*>(y.data), s, scale);
    });
  });
  cudaCheckLaunch(name);
}

}  // namespace

void register_cached_attention_cuda(KernelRegistry& registry) {
  registry.add("cached_attention", cachedAttention);
}

}  // namespace tesserae
