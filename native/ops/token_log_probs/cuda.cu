#include <cmath>

#include "ops/cuda_support.cuh"
#include "ops/registry.h"
#include "ops/sampling.h"

namespace tesserae {

namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;

struct Entry {
  float logit;
  int32_t id;  // -1: none
};

// The larger logit, the lower id among equals.
__device__ __forceinline__ Entry better(Entry a, Entry b) {
  const bool second = b.id >= 0 && (a.id < 0 || b.logit > a.logit || (b.logit == a.logit && b.id < a.id));
  return second ? b : a;
}

// Calls visit(logit, id) for a thread's share of a row, ids in ascending order, several loads in flight.
template <class Visit>
__device__ __forceinline__ void forEachLogit(const float* row, int32_t vocabulary, Visit visit) {
  constexpr int kAhead = 8;
  for (int32_t first = threadIdx.x; first < vocabulary; first += kAhead * kThreads) {
    float logits[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i)
      logits[i] = first + i * kThreads < vocabulary ? row[first + i * kThreads] : 0.0f;
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (first + i * kThreads < vocabulary) visit(logits[i], first + i * kThreads);
    }
  }
}

// A block a row.
__global__ void __launch_bounds__(kThreads)
    logProbKernel(const float* logits, const int32_t* picked, const int64_t* stream, float* logProb,
                  int32_t* topTokens, float* topLogProbs, int64_t columns, int32_t vocabulary,
                  int32_t likeliest, bool asTheyAre) {
  __shared__ float shared[kWarps];
  __shared__ Entry entries[kWarps];
  const int64_t b = blockIdx.x;
  if (picked[b] < 0) return;
  const float* row = logits + b * columns;
  float maximum = -INFINITY, total = 0;
  forEachLogit(row, vocabulary, [&](float logit, int32_t) { maximum = logit > maximum ? logit : maximum; });
  maximum = blockMax<kThreads>(maximum, shared);
  forEachLogit(row, vocabulary, [&](float logit, int32_t) { total += expf(logit - maximum); });
  total = blockSum<kThreads>(total, shared);
  const float shift = asTheyAre ? 0.0f : maximum + logf(total);
  const int64_t place = (stream[2 * b + 1] - 1) % kMostVisit * gridDim.x + b;
  if (threadIdx.x == 0) logProb[place] = row[picked[b]] - shift;
  Entry last{INFINITY, -1};
  for (int32_t k = 0; k < likeliest; ++k) {
    Entry best{-INFINITY, -1};
    forEachLogit(row, vocabulary, [&](float logit, int32_t id) {
      if (logit < last.logit || (logit == last.logit && id > last.id)) best = better(best, {logit, id});
    });
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
      best = better(best, {__shfl_xor_sync(0xffffffffu, best.logit, offset),
                           __shfl_xor_sync(0xffffffffu, best.id, offset)});
    }
    __syncthreads();  // all have read the entries of the round before
    if (threadIdx.x % 32 == 0) entries[threadIdx.x / 32] = best;
    __syncthreads();
    last = entries[0];
    for (int warp = 1; warp < kWarps; ++warp) last = better(last, entries[warp]);
    if (threadIdx.x == 0) {
      topTokens[place * likeliest + k] = last.id;
      topLogProbs[place * likeliest + k] = last.logit - shift;
    }
  }
}

void tokenLogProbs(const KernelContext& c) {
  const TensorView &logits = c.inputs[0], &tokens = c.outputs[1];  // (B, V→Vp), (visit, B, likeliest)
  requireTypes("token_log_probs", DType::F32, {&logits});
  logProbKernel<<<static_cast<unsigned>(logits.rows), kThreads, 0, cudaStream(c)>>>(
      logits.f32(), c.inputs[1].i32(), c.inputs[2].i64(), c.outputs[0].f32(), tokens.i32(),
      c.outputs[2].f32(), logits.columns, static_cast<int32_t>(logits.logicalColumns),
      tokens.data ? static_cast<int32_t>(tokens.columns) : 0, c.attributes->flag("asTheyAre"));
  cudaCheckLaunch("token_log_probs");
}

}  // namespace

void register_token_log_probs_cuda(KernelRegistry& registry) {
  registry.add("token_log_probs", tokenLogProbs);
}

}  // namespace tesserae
