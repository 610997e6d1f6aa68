#include <cmath>

#include "ops/cuda_support.cuh"
#include "ops/registry.h"
#include "runtime/philox.h"

namespace tesserae {

namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;

// -log(-log(1 - v)), v = (bits / 2 + ½) / 2^31 rounded to fp32 and kept below 1. That v and not u = 1 - v
// comes from the bits gives the upper tail, which picks improbable tokens, a resolution of 2^-32.
__device__ __forceinline__ float gumbel(uint32_t bits) {
  const float uniform = (static_cast<float>(static_cast<int32_t>(bits >> 1)) + 0.5f) * 0x1p-31f;
  const float v = uniform < 0x1.fffffep-1f ? uniform : 0x1.fffffep-1f;
  return -logf(-log1pf(-v));
}

// The larger score, the lower id among equals; id -1 is none and has score -inf, which no allowed id has.
__device__ __forceinline__ void takeBetter(float& score, int32_t& id, float otherScore, int32_t otherId) {
  if (otherScore > score || (otherScore == score && otherId >= 0 && (id < 0 || otherId < id))) {
    score = otherScore;
    id = otherId;
  }
}

// A block a row: the id with the largest logits[v] + temperature * g_v. A thread takes four ids at a time,
// which one call of Philox serves. The session moves on when all have read it.
template <class T>
__global__ void __launch_bounds__(kThreads)
    chooseKernel(const T* logits, const float* temperatures, const uint32_t* mask, uint64_t site,
                 int64_t columns, int32_t vocabulary, int64_t maskColumns, int32_t* next, int64_t* stream,
                 int32_t* start, int32_t* lengths) {
  __shared__ float scores[kWarps];
  __shared__ int32_t ids[kWarps];
  const int64_t b = blockIdx.x;
  const T* row = logits + b * columns;
  const uint32_t* allowed = mask ? mask + b * maskColumns : nullptr;
  const float temperature = temperatures[b];
  const uint64_t key = static_cast<uint64_t>(stream[2 * b]) ^ site;
  const uint32_t step = static_cast<uint32_t>(stream[2 * b + 1]);
  float best = -INFINITY;
  int32_t bestId = -1;
  for (int32_t first = static_cast<int32_t>(threadIdx.x) * 4; first < vocabulary; first += kThreads * 4) {
    float noise[4] = {};
    if (temperature > 0) {
      const Philox4 words = philox(key, static_cast<uint32_t>(first / 4), 0, 0, step);
#pragma unroll
      for (int i = 0; i < 4; ++i) noise[i] = gumbel(words.v[i]);
    }
    const uint32_t bits = allowed ? allowed[first / 32] >> first % 32 : ~0u;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (first + i >= vocabulary || !(bits >> i & 1)) continue;
      const float score = toFloat(row[first + i]) + temperature * noise[i];
      if (score > best) {  // ids grow: the first of equals stays
        best = score;
        bestId = first + i;
      }
    }
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const float otherScore = __shfl_xor_sync(0xffffffffu, best, offset);
    const int32_t otherId = __shfl_xor_sync(0xffffffffu, bestId, offset);
    takeBetter(best, bestId, otherScore, otherId);
  }
  if (threadIdx.x % 32 == 0) {
    scores[threadIdx.x / 32] = best;
    ids[threadIdx.x / 32] = bestId;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kWarps; ++warp) takeBetter(best, bestId, scores[warp], ids[warp]);
  next[b] = bestId;
  stream[2 * b + 1] += 1;
  start[b] += lengths[b];
  lengths[b] = 1;
}

void choose(const KernelContext& c) {
  const TensorView &logits = c.inputs[0], &mask = c.inputs[5];  // (B, V→Vp), (B, ⌈V/32⌉)
  dispatchActivationType(logits.dtype, "choose", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    chooseKernel<T><<<static_cast<unsigned>(logits.rows), kThreads, 0, cudaStream(c)>>>(
        static_cast<const T*>(logits.data), c.inputs[1].f32(), mask.u32(), c.site, logits.columns,
        static_cast<int32_t>(logits.logicalColumns), mask.columns, c.outputs[0].i32(), c.outputs[1].i64(),
        c.outputs[2].i32(), c.outputs[3].i32());
  });
  cudaCheckLaunch("choose");
}

}  // namespace

void register_choose_cuda(KernelRegistry& registry) { registry.add("choose", choose); }

}  // namespace tesserae
