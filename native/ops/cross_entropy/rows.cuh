// Cross-entropy of rows on a GPU, shared by cross_entropy and linear_cross_entropy. A row belongs to kRow
// threads: a block of kLossThreads, or a warp or part of one where rows are short. For cuda.cu files only.
#pragma once

#include <cfloat>
#include <type_traits>

#include "ops/attributes.h"
#include "ops/cross_entropy/plan.h"
#include "ops/cuda_support.cuh"

namespace tesserae {

namespace {

constexpr int kLossThreads = 512;

// The settings of the loss over `vocabulary` logical logits in rows of `columns`.
struct CudaLoss {
  int64_t rows;
  int32_t vocabulary, columns;
  int64_t ignoreIndex;
  float smoothing;  // ε

  __device__ __forceinline__ bool valid(int32_t target) const {
    return target >= 0 && target < vocabulary && target != ignoreIndex;
  }
};

inline CudaLoss cudaLoss(const Attributes& attributes, int64_t rows, int64_t vocabulary, int64_t columns) {
  return {rows, static_cast<int32_t>(vocabulary), static_cast<int32_t>(columns),
          attributes.integer("ignoreIndex", -100),
          static_cast<float>(attributes.number("labelSmoothing", 0))};
}

// Calls f with the number of threads of a row as a constant.
template <class F>
void dispatchRowThreads(int64_t columns, F&& f) {
  if (columns <= 1024) return f(std::integral_constant<int, 8>{});
  if (columns <= 2048) return f(std::integral_constant<int, 32>{});
  f(std::integral_constant<int, kLossThreads>{});
}

// Threads of a block. Of short rows, small blocks: some of a multiprocessor's load while others compute.
template <int kRow>
constexpr int kRowThreads = kRow > 32 ? kLossThreads : 128;

template <int kRow>
unsigned rowBlocks(int64_t rows) {
  return static_cast<unsigned>(divideUp(rows, kRowThreads<kRow> / kRow));
}

// The row of this thread; all threads of a row agree.
template <int kRow>
__device__ __forceinline__ int64_t rowOfThread() {
  return static_cast<int64_t>(blockIdx.x) * (kRowThreads<kRow> / kRow) + threadIdx.x / kRow;
}

struct RowStatistics {
  float maximum, sum, total;  // of z, of e^(z - maximum), of z where labels are smoothed
  float chosen;               // the target's logit, in the thread that met it
  bool met;
};

// One pass over z, which is copied to `stash` unless that is null. `shared` holds kLossThreads / 32
// floats. A logit that is NaN or +inf makes the sum NaN.
template <int kRow, class T>
__device__ __forceinline__ RowStatistics rowStatistics(const CudaLoss& s, const T* z, int32_t target,
                                                       T* stash, float* shared) {
  // Finite, so that the difference of two is a number where a thread has no logit, or only -inf.
  float maximum = -FLT_MAX, sum = 0, total = 0;
  RowStatistics r{};
  constexpr int kStride = kRow * kVector, kAhead = 4;  // loads on their way at a time
  for (int32_t start = threadIdx.x % kRow * kVector; start < s.vocabulary; start += kAhead * kStride) {
    Packed<T> packed[kAhead];
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      if (start + a * kStride < s.vocabulary) packed[a] = loadPacked(z + start + a * kStride);
    }
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const int32_t column = start + a * kStride;
      if (column >= s.vocabulary) break;
      if (stash) storePacked(stash + column, packed[a]);
      float v[kVector], top = -FLT_MAX;
#pragma unroll
      for (int j = 0; j < kVector; ++j) v[j] = toFloat(packed[a].v[j]);
      if (column + kVector > s.vocabulary) {
#pragma unroll
        for (int j = 0; j < kVector; ++j) v[j] = column + j < s.vocabulary ? v[j] : -INFINITY;
      }
      if (target >= column && target < column + kVector) {
        r.met = true;
#pragma unroll
        for (int j = 0; j < kVector; ++j) r.chosen = column + j == target ? v[j] : r.chosen;
      }
#pragma unroll
      for (int j = 0; j < kVector; ++j) top = fmaxf(top, v[j]);
      if (top > maximum) {
        sum *= exponential(maximum - top);
        maximum = top;
      }
#pragma unroll
      for (int j = 0; j < kVector; ++j) sum += exponential(v[j] - maximum);
      if (s.smoothing > 0) {
#pragma unroll
        for (int j = 0; j < kVector; ++j) total += column + j < s.vocabulary ? v[j] : 0.0f;
      }
    }
  }
  r.maximum = blockMax<kRow>(maximum, shared);
  r.sum = blockSum<kRow>(sum * exponential(maximum - r.maximum), shared);
  r.total = s.smoothing > 0 ? blockSum<kRow>(total, shared) : 0.0f;
  return r;
}

// What a row adds to the loss: by the thread that met the target's logit, or NaN by the first one where the
// target is not an id. Rows that do not count leave nothing.
template <int kRow>
__device__ __forceinline__ void storeLoss(const CudaLoss& s, const RowStatistics& r, int32_t target,
                                          double* loss) {
  if (!s.valid(target)) {
    if (target != s.ignoreIndex && threadIdx.x % kRow == 0) *loss = NAN;
    return;
  }
  if (!r.met) return;
  const float logSum = logf(r.sum);
  const float plain = (1.0f - s.smoothing) * (logSum - (r.chosen - r.maximum));
  const float mean = r.total / static_cast<float>(s.vocabulary) - r.maximum;
  *loss = s.smoothing > 0 ? plain + s.smoothing * (logSum - mean) : plain;
}

// dlogits of a row: scale e^(z - maximum) - gradient ((1 - ε) onehot + ε / V), zero where the target does not
// count and in padding lanes. From the end, which is the likelier to be in the cache. z may be the memory of
// dz: a thread writes what it alone reads.
template <int kRow, class T>
__device__ __forceinline__ void storeRowGradient(const CudaLoss& s, const T* z, T* dz, float maximum,
                                                 float scale, float gradient, int32_t target) {
  const float uniform = gradient * s.smoothing / static_cast<float>(s.vocabulary);
  const float peak = gradient * (1.0f - s.smoothing);
  const int32_t end = s.valid(target) ? s.vocabulary : 0;  // from here on zeros
  constexpr int kStride = kRow * kVector;
  const int32_t first = threadIdx.x % kRow * kVector;
#pragma unroll 2
  for (int32_t column = first + (s.columns - 1) / kStride * kStride; column >= 0; column -= kStride) {
    if (column >= s.columns) continue;
    float v[kVector];
    loadVector(z + column, v);
#pragma unroll
    for (int j = 0; j < kVector; ++j) v[j] = scale * exponential(v[j] - maximum) - uniform;
    if (column + kVector > end) {
#pragma unroll
      for (int j = 0; j < kVector; ++j) v[j] = column + j < end ? v[j] : 0.0f;
    }
    if (target >= column && target < column + kVector && target < end) {
#pragma unroll
      for (int j = 0; j < kVector; ++j) v[j] -= column + j == target ? peak : 0.0f;
    }
    storeVector(dz + column, v);
  }
}

// parts (blocks) = {Σ losses, Σ 1} over a block's rows with a target that counts.
__global__ void __launch_bounds__(kLossThreads)
    sumRowLosses(const double* losses, const int32_t* targets, int64_t rows, int64_t ignoreIndex,
                 LossSum* parts) {
  __shared__ double shared[kLossThreads / 32];
  double total = 0, valid = 0;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kLossThreads;
  for (int64_t row = blockIdx.x * static_cast<int64_t>(kLossThreads) + threadIdx.x; row < rows; row += step) {
    if (targets[row] == ignoreIndex) continue;  // nobody wrote its loss
    total += losses[row];
    valid += 1;
  }
  total = blockSum<kLossThreads>(total, shared);
  valid = blockSum<kLossThreads>(valid, shared);
  if (threadIdx.x > 0) return;
  parts[blockIdx.x] = {total, valid};
}

// loss = [loss +] Σ parts
__global__ void __launch_bounds__(kCudaLossBlocks)
    addLossParts(const LossSum* parts, int blocks, bool accumulate, LossSum* loss) {
  __shared__ double shared[kCudaLossBlocks / 32];
  const int i = static_cast<int>(threadIdx.x);
  const double total = blockSum<kCudaLossBlocks>(i < blocks ? parts[i].sum : 0.0, shared);
  const double valid = blockSum<kCudaLossBlocks>(i < blocks ? parts[i].validTargets : 0.0, shared);
  if (i > 0) return;
  loss->sum = accumulate ? loss->sum + total : total;
  loss->validTargets = accumulate ? loss->validTargets + valid : valid;
}

// loss = [loss +] {Σ losses, Σ 1} over the rows with a target that counts; `losses` is
// cudaLossBytes(rows).
inline void sumLosses(cudaStream_t stream, double* losses, const int32_t* targets, int64_t rows,
                      int64_t ignoreIndex, bool accumulate, LossSum* loss, const char* operation) {
  const int64_t wanted = divideUp(rows, kLossThreads);
  const int blocks = static_cast<int>(wanted < kCudaLossBlocks ? wanted : kCudaLossBlocks);
  LossSum* parts = reinterpret_cast<LossSum*>(losses + rows);
  sumRowLosses<<<blocks, kLossThreads, 0, stream>>>(losses, targets, rows, ignoreIndex, parts);
  cudaCheckLaunch(operation);
  addLossParts<<<1, kCudaLossBlocks, 0, stream>>>(parts, blocks, accumulate, loss);
  cudaCheckLaunch(operation);
}

}  // namespace

}  // namespace tesserae
