#include <cmath>
#include <type_traits>

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
  int64_t time, heads, width;     // width: of a head, physical
  int64_t pageStride, rowStride;  // elements of the cache from one page, one row to the next
};

// A block for each (row, head, query). kLanes threads, a power of two, form a group that takes every
// (groups)-th run of kAhead keys with an online softmax (Milakov & Gimelshein 2018); each holds eight
// elements of the query and of its group's output. At the end the groups' outputs are weighed in their order.
// Keys of new positions are read from qkv: the block of a position's own query puts them into the cache,
// whenever it runs.
template <class T, int kLanes>
__global__ void __launch_bounds__(kThreads)
    attentionKernel(const T* qkv, T* keys, T* values, const int32_t* start, const int32_t* lengths, T* y,
                    Shape s, float scale) {
  constexpr int kGroups = kThreads / kLanes;
  __shared__ float outputs[kGroups][kLanes * kVector];
  __shared__ float maxima[kGroups], totals[kGroups], weights[kGroups];
  const int64_t t = blockIdx.x % s.time, head = blockIdx.x / s.time % s.heads,
                b = blockIdx.x / s.time / s.heads;
  const int64_t row = s.heads * s.width;
  T* out = y + (b * s.time + t) * row + head * s.width;
  releaseSuccessor();
  awaitPredecessor();
  if (t >= lengths[b]) {
    for (int64_t d = threadIdx.x; d < s.width; d += kThreads) out[d] = fromFloat<T>(0.0f);
    return;
  }
  const int64_t known = start[b], visible = known + t + 1;
  const int group = threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
  const int64_t column = lane * kVector;
  const bool holds = column < s.width;  // lanes beyond the width of a head only take part in exchanges
  const int64_t inHead = head * s.width + column, cache = b * s.rowStride + inHead;
  const int64_t fresh = b * s.time - known;  // plus a new position: its row of qkv
  if (group == 0 && holds) {
    const int64_t position = visible - 1;
    const int64_t to = position / kPagePositions * s.pageStride + position % kPagePositions * row + cache;
    const T* packed = qkv + (fresh + position) * 3 * row + inHead;
    storePacked(keys + to, loadPacked(packed + row));
    storePacked(values + to, loadPacked(packed + 2 * row));
  }

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
    const int64_t run = first / kPagePositions * s.pageStride + first % kPagePositions * row + cache;
    Packed<T> key[kAhead], value[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      if (!holds || first + j >= visible) continue;
      const bool isNew = first + j >= known;
      const T* packed = qkv + (fresh + first + j) * 3 * row + inHead;
      key[j] = loadPacked(isNew ? packed + row : keys + run + j * row);
      value[j] = loadPacked(isNew ? packed + 2 * row : values + run + j * row);
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
  if (threadIdx.x < kGroups) {
    float largest = maxima[0];  // the first group has a key; those without weigh nothing
#pragma unroll
    for (int g = 1; g < kGroups; ++g) largest = maxima[g] > largest ? maxima[g] : largest;
    const float weight = expf(maxima[threadIdx.x] - largest);
    weights[threadIdx.x] = weight;
    totals[threadIdx.x] *= weight;
  }
  __syncthreads();
  const int64_t d = threadIdx.x;  // kThreads is at least the width of a head
  if (d >= s.width) return;
  float numerator = 0, denominator = 0;
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    numerator += weights[g] * outputs[g][d];
    denominator += totals[g];
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
  const TensorView &qkv = c.inputs[0], &start = c.inputs[2], &lengths = c.inputs[3];  // (B, T, 3, H, D→Dp)
  const TensorView &y = c.outputs[0], &cache = c.outputs[1];  // (pages, layers, 2, B, positions, H, D→Dp)
  requireTypes(name, qkv.dtype, {&y, &cache});
  const int64_t batch = qkv.factors[0].physical, time = qkv.factors[1].physical;
  const int64_t heads = qkv.factors[3].physical, width = qkv.factors[4].physical;
  const int64_t rowStride = kPagePositions * heads * width, kindStride = batch * rowStride;
  const Shape s{time, heads, width, cache.factors[1].physical * 2 * kindStride, rowStride};
  const int64_t layer = c.attributes->integer("layer", 0) * 2 * kindStride;
  const float scale = static_cast<float>(
      c.attributes->number("scale", 1 / std::sqrt(static_cast<double>(qkv.factors[4].logical))));
  dispatchActivationType(qkv.dtype, name, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    dispatchLanes(width, [&](auto lanes) {
      T* keys = static_cast<T*>(cache.data) + layer;
      launchDependent(name, attentionKernel<T, decltype(lanes)::value>,
                      dim3(static_cast<unsigned>(batch * heads * time)), kThreads, cudaStream(c),
                      static_cast<const T*>(qkv.data), keys, keys + kindStride, start.i32(), lengths.i32(),
                      static_cast<T*>(y.data), s, scale);
    });
  });
}

}  // namespace

void register_cached_attention_cuda(KernelRegistry& registry) {
  registry.add("cached_attention", cachedAttention);
}

}  // namespace tesserae
