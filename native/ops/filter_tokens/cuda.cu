#include <cmath>

#include "ops/cuda_support.cuh"
#include "ops/filter_tokens/rule.h"
#include "ops/registry.h"
#include "ops/sampling.h"

namespace tesserae {

namespace {

constexpr int kThreads = 1024;
constexpr int kBins = 2048;
constexpr int kBinsOfLane = kBins / 32;
constexpr float kBinsOfUnit = 64;  // bins of the first histogram for a distance of 1 from the maximum

using Sum = unsigned long long;

struct Row {
  const float* scores;
  int32_t count;
  float maximum;
};

// Calls visit(score) for a thread's share of the row, several loads in flight.
template <class Visit>
__device__ __forceinline__ void forEachScore(const Row& row, Visit visit) {
  constexpr int kAhead = 8;
  for (int32_t first = threadIdx.x; first < row.count; first += kAhead * kThreads) {
    float scores[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i)
      scores[i] = first + i * kThreads < row.count ? row.scores[first + i * kThreads] : -INFINITY;
#pragma unroll
    for (int i = 0; i < kAhead; ++i) visit(scores[i]);
  }
}

// The bin, from 0 on, at which the running sum reaches `target`, and the sum before it; bin kBins where it
// never does. One warp; `total` gets the sum of all.
__device__ void findBin(const Sum* bins, Sum target, int* bin, Sum* before, Sum* total) {
  const int lane = threadIdx.x % 32;
  Sum mine = 0;
  for (int i = 0; i < kBinsOfLane; ++i) mine += bins[lane * kBinsOfLane + i];
  Sum through = mine;
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const Sum other = __shfl_up_sync(0xffffffffu, through, offset);
    if (lane >= offset) through += other;
  }
  if (lane == 31) {
    *total = through;
    if (through < target) *bin = kBins;
  }
  Sum at = through - mine;
  if (at >= target || through < target) return;  // one lane has the bin
  int i = lane * kBinsOfLane;
  while (at + bins[i] < target) at += bins[i++];
  *bin = i;
  *before = at;
}

// The key of the score at which the sum of `measure` over the scores from the largest down reaches share *
// its sum (share > 0), or `target`; 0 where it never does. All threads get it. The first histogram is of
// distances from the maximum, since most scores have the same leading bits; then three of digits of the keys
// in the bin that was found. Scores of measure 0 must lie below all others.
template <class Measure>
__device__ uint32_t reach(const Row& row, float binsOfUnit, Sum target, double share, Sum* bins,
                          Measure measure) {
  __shared__ int found;
  __shared__ Sum before, total;
  const auto distanceBin = [&](float score) {
    const float at = (row.maximum - score) * binsOfUnit;
    return at < kBins - 1 ? static_cast<int>(at) : kBins - 1;
  };
  const auto clear = [&] {
    __syncthreads();
    for (int i = threadIdx.x; i < kBins; i += kThreads) bins[i] = 0;
    __syncthreads();
  };
  clear();
  forEachScore(row, [&](float score) {
    const Sum amount = score > -INFINITY ? measure(score) : 0;
    if (amount > 0) atomicAdd(&bins[distanceBin(score)], amount);
  });
  __syncthreads();
  if (share > 0) {
    if (threadIdx.x < 32) findBin(bins, 1, &found, &before, &total);
    __syncthreads();
    const double part = share * static_cast<double>(total);
    target = part < 1 ? 1 : static_cast<Sum>(ceil(part));
    __syncthreads();
  }
  if (threadIdx.x < 32) findBin(bins, target, &found, &before, &total);
  __syncthreads();
  const int place = found;
  if (place == kBins) return 0;
  Sum above = before;
  uint32_t prefix = 0;
  int known = 0;  // leading bits of the key
  for (const int digits : {11, 11, 10}) {
    clear();
    const int shift = 32 - known - digits;
    forEachScore(row, [&](float score) {
      if (!(score > -INFINITY) || distanceBin(score) != place) return;
      const uint32_t key = orderedKey(score);
      if (known > 0 && key >> (32 - known) != prefix) return;
      const Sum amount = measure(score);
      // The largest digit first.
      if (amount > 0) atomicAdd(&bins[(1 << digits) - 1 - (key >> shift & ((1u << digits) - 1))], amount);
    });
    __syncthreads();
    if (threadIdx.x < 32) findBin(bins, target - above, &found, &before, &total);
    __syncthreads();
    prefix = prefix << digits | ((1u << digits) - 1 - static_cast<uint32_t>(found));
    above += before;
    known += digits;
  }
  return prefix;
}

// A block a row.
__global__ void __launch_bounds__(kThreads)
    filterKernel(const float* scores, const float* settings, float* thresholds, int64_t columns,
                 int32_t vocabulary) {
  __shared__ Sum bins[kBins];
  __shared__ float shared[kThreads / 32];
  const int64_t b = blockIdx.x;
  const float* of = settings + b * kSettings;
  const float temperature = of[kTemperature];
  Row row{scores + b * columns, vocabulary, -INFINITY};
  float maximum = -INFINITY;
  forEachScore(row, [&](float score) { maximum = score > maximum ? score : maximum; });
  row.maximum = blockMax<kThreads>(maximum, shared);
  float threshold = -INFINITY;
  if (temperature > 0 && row.maximum > -INFINITY && row.maximum < INFINITY) {
    if (of[kTopK] >= 1) {
      const uint32_t key =
          reach(row, kBinsOfUnit, static_cast<Sum>(of[kTopK]), 0, bins, [](float) -> Sum { return 1; });
      if (key > 0) threshold = fromOrderedKey(key);
    }
    if (of[kTopP] < 1) {
      const float least = threshold;
      const auto weight = [&](float score) -> Sum {
        return score < least ? 0 : static_cast<Sum>(expf((score - row.maximum) / temperature) * kWeightOne);
      };
      const uint32_t key =
          reach(row, kBinsOfUnit / temperature, 0, of[kTopP] > 0 ? of[kTopP] : 1e-30f, bins, weight);
      if (key > 0) threshold = fmaxf(threshold, fromOrderedKey(key));
    }
    if (of[kMinP] > 0) threshold = fmaxf(threshold, row.maximum + temperature * logf(of[kMinP]));
  } else if (temperature > 0 && row.maximum == INFINITY) {
    threshold = INFINITY;
  }
  if (threadIdx.x == 0) thresholds[b] = threshold;
}

void filterTokens(const KernelContext& c) {
  const TensorView& scores = c.inputs[0];  // (B, V→Vp)
  requireTypes("filter_tokens", DType::F32, {&scores, &c.inputs[1]});
  filterKernel<<<static_cast<unsigned>(scores.rows), kThreads, 0, cudaStream(c)>>>(
      scores.f32(), c.inputs[1].f32(), c.outputs[0].f32(), scores.columns,
      static_cast<int32_t>(scores.logicalColumns));
  cudaCheckLaunch("filter_tokens");
}

}  // namespace

void register_filter_tokens_cuda(KernelRegistry& registry) { registry.add("filter_tokens", filterTokens); }

}  // namespace tesserae
