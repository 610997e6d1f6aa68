#include <cmath>

#include "ops/attributes.h"
#include "ops/choose/plan.h"
#include "ops/cuda_dependent_launch.cuh"
#include "ops/cuda_support.cuh"
#include "ops/registry.h"
#include "ops/sampling.h"
#include "runtime/philox.h"

namespace tesserae {

namespace {

constexpr int kThreads = kChooseIds / 4;
constexpr int kWarps = kThreads / 32;

struct Candidate {
  float score;
  int32_t id;  // -1: none, with score -inf, which no id that is taken has
};

struct Row {
  const float* settings;  // (B, kSettings)
  const uint32_t* stops;  // ({end, stop}, words)
  int64_t words, batch;
  int32_t* picked;
  int64_t* stream;  // (B, {seed, drawn})
  int32_t *start, *lengths, *finished, *next, *chosen;
  uint32_t* counts;  // (B, countColumns), may be null
  int32_t* history;  // (B, historyColumns), may be null
  int64_t countColumns, historyColumns, capacity;
};

// -log(-log(1 - v)), v = (bits / 2 + ½) / 2^31 rounded to fp32 and kept below 1. That v and not u = 1 - v
// comes from the bits gives the upper tail, which picks improbable tokens, a resolution of 2^-32.
__device__ __forceinline__ float gumbel(uint32_t bits) {
  const float uniform = (static_cast<float>(static_cast<int32_t>(bits >> 1)) + 0.5f) * 0x1p-31f;
  const float v = uniform < 0x1.fffffep-1f ? uniform : 0x1.fffffep-1f;
  return -logf(-log1pf(-v));
}

// The larger score, the lower id among equals.
__device__ __forceinline__ Candidate better(Candidate a, Candidate b) {
  const bool second = b.score > a.score || (b.score == a.score && b.id >= 0 && (a.id < 0 || b.id < a.id));
  return second ? b : a;
}

__device__ __forceinline__ Candidate warpBest(Candidate best) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    best = better(best, {__shfl_xor_sync(0xffffffffu, best.score, offset),
                         __shfl_xor_sync(0xffffffffu, best.id, offset)});
  }
  return best;
}

// The best of a slice of a row: the id with the largest scores[v] + temperature * g_v. A thread takes four
// ids at a time, which one call of Philox serves.
__global__ void __launch_bounds__(kThreads)
    sliceKernel(const float* scores, const float* settings, const float* thresholds, const int64_t* stream,
                uint64_t site, int64_t columns, int32_t vocabulary, Candidate* candidates) {
  __shared__ Candidate shared[kWarps];
  releaseSuccessor();
  const int64_t b = blockIdx.y;
  const float* row = scores + b * columns;
  const float temperature = settings[b * kSettings + kTemperature];
  const float threshold = thresholds ? thresholds[b] : -INFINITY;
  const uint64_t key = static_cast<uint64_t>(stream[2 * b]) ^ site;
  const uint32_t step = static_cast<uint32_t>(stream[2 * b + 1]);
  Candidate best{-INFINITY, -1};
  for (int32_t first = static_cast<int32_t>(blockIdx.x * kThreads + threadIdx.x) * 4; first < vocabulary;
       first += static_cast<int32_t>(gridDim.x) * kThreads * 4) {
    float score[4], noise[4] = {};
    bool any = false;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      score[i] = first + i < vocabulary ? row[first + i] : -INFINITY;
      any |= score[i] >= threshold;
    }
    if (any && temperature > 0) {
      const Philox4 words = philox(key, static_cast<uint32_t>(first / 4), 0, 0, step);
#pragma unroll
      for (int i = 0; i < 4; ++i) noise[i] = gumbel(words.v[i]);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float drawn = score[i] >= threshold ? score[i] + temperature * noise[i] : -INFINITY;
      if (first + i < vocabulary && drawn > best.score)
        best = {drawn, first + i};  // the first of equals stays
    }
  }
  best = warpBest(best);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int warp = 1; warp < kWarps; ++warp) best = better(best, shared[warp]);
  candidates[b * gridDim.x + blockIdx.x] = best;
}

// A warp a row: the best of its slices, and what follows from it.
__global__ void __launch_bounds__(32) finishKernel(const Candidate* candidates, int32_t slices, Row r) {
  awaitPredecessor();
  const int64_t b = blockIdx.x;
  Candidate best{-INFINITY, -1};
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < slices; i += 32)
    best = better(best, candidates[b * slices + i]);
  best = warpBest(best);
  if (threadIdx.x != 0) return;
  r.picked[b] = -1;
  if (r.finished[b] != kRunning) return;
  const int32_t token = best.id, start = r.start[b] + r.lengths[b];
  r.start[b] = start;
  r.lengths[b] = 0;
  if (token < 0) {
    r.finished[b] = kNoToken;
    return;
  }
  const int64_t drawn = r.stream[2 * b + 1];
  r.picked[b] = token;
  r.next[b] = token;
  r.chosen[drawn % kMostVisit * r.batch + b] = token;
  r.stream[2 * b + 1] = drawn + 1;
  if (r.counts) r.counts[b * r.countColumns + token] += 1;
  if (r.history && start < r.historyColumns) r.history[b * r.historyColumns + start] = token;
  int32_t finished = kRunning;
  if (r.stops[token / 32] >> token % 32 & 1) {
    finished = kEndToken;
  } else if (r.stops[r.words + token / 32] >> token % 32 & 1) {
    finished = kStopToken;
  } else if (static_cast<float>(drawn + 1) >= r.settings[b * kSettings + kMaxNewTokens]) {
    finished = kLength;
  } else if (start >= r.capacity) {
    finished = kFull;
  }
  r.finished[b] = finished;
  r.lengths[b] = finished == kRunning ? 1 : 0;
}

void choose(const KernelContext& c) {
  const TensorView &scores = c.inputs[0], &stops = c.inputs[2];  // (B, V→Vp)
  requireTypes("choose", DType::F32, {&scores, &c.inputs[1], &c.inputs[3]});
  const int64_t slices = c.choice->ctas;
  auto* candidates = static_cast<Candidate*>(c.workspace);  // (B, slices)
  const dim3 grid(static_cast<unsigned>(slices), static_cast<unsigned>(scores.rows));
  sliceKernel<<<grid, kThreads, 0, cudaStream(c)>>>(scores.f32(), c.inputs[1].f32(), c.inputs[3].f32(),
                                                    c.outputs[1].i64(), c.site, scores.columns,
                                                    static_cast<int32_t>(scores.logicalColumns), candidates);
  cudaCheckLaunch("choose");
  const Row row{
      c.inputs[1].f32(),  stops.u32(),          stops.columns,        scores.rows,
      c.outputs[0].i32(), c.outputs[1].i64(),   c.outputs[2].i32(),   c.outputs[3].i32(),
      c.outputs[4].i32(), c.outputs[5].i32(),   c.outputs[6].i32(),   c.outputs[7].u32(),
      c.outputs[8].i32(), c.outputs[7].columns, c.outputs[8].columns, c.attributes->integer("cache", 0)};
  launchDependent("choose", finishKernel, dim3(static_cast<unsigned>(scores.rows)), 32, cudaStream(c),
                  static_cast<const Candidate*>(candidates), static_cast<int32_t>(slices), row);
}

}  // namespace

void register_choose_cuda(KernelRegistry& registry) { registry.add("choose", choose); }

}  // namespace tesserae
