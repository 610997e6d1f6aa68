// defines: CudaLoss, cudaLoss, RowStatistics, rowStatistics, rowLoss, sumRowLosses, dispatchRowThreads,
// rowBlocks, kLossThreads
// Cross-entropy of rows on a GPU, shared by cross_entropy and linear_cross_entropy. A row belongs to kRow
// threads: a warp, or a block of kLossThreads where rows are long. For cuda.cu files only.
#pragma once

#include <type_traits>

#include "ops/attributes.h"
#include "ops/cuda_support.cuh"

namespace tesserae {

inline constexpr int kLossThreads = 256;

// The settings of the loss over `vocabulary` logical logits in rows of `columns`.
struct CudaLoss {
  int64_t rows, vocabulary, columns;
  int64_t ignoreIndex;
  float smoothing;  // ε
};

inline CudaLoss cudaLoss(const Attributes& attributes, int64_t rows, int64_t vocabulary, int64_t columns) {
  return {rows, vocabulary, columns, attributes.integer("ignoreIndex", -100),
          static_cast<float>(attributes.number("labelSmoothing", 0))};
}

// Calls f with the number of threads of a row as a constant.
template <class F>
void dispatchRowThreads(int64_t columns, F&& f) {
  if (columns <= 2048) return f(std::integral_constant<int, 32>{});
  f(std::integral_constant<int, kLossThreads>{});
}

template <int kRow>
unsigned rowBlocks(int64_t rows) {
  return static_cast<unsigned>(divideUp(rows, kLossThreads / kRow));
}

// The row of this thread; all threads of a row agree.
template <int kRow>
__device__ __forceinline__ int64_t rowOfThread() {
  return static_cast<int64_t>(blockIdx.x) * (kLossThreads / kRow) + threadIdx.x / kRow;
}

struct RowStatistics {
  float maximum, sum, total;  // of z, of e^(z - maximum), of z
};

// In one pass over z. `shared` holds kLossThreads / 32 floats.
template <int kRow, class T>
__device__ __forceinline__ RowStatistics rowStatistics(const CudaLoss& s, const T* z, float* shared) {
  const float lowest = -INFINITY;
  float maximum = lowest, sum = 0, total = 0;
  for (int64_t column = threadIdx.x % kRow * kVector; column < s.vocabulary; column += kRow * kVector) {
    float v[kVector], top = lowest;
    loadVector(z + column, v);
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      if (column + j >= s.vocabulary) {
        v[j] = lowest;
      } else {
        total += v[j];
      }
      top = v[j] > top ? v[j] : top;
    }
    if (top > maximum) {
      sum *= expf(maximum - top);
      maximum = top;
    }
#pragma unroll
    for (int j = 0; j < kVector; ++j) sum += v[j] == lowest ? 0.0f : expf(v[j] - maximum);
  }
  RowStatistics r;
  r.maximum = blockMax<kRow>(maximum, shared);
  const float scaled =
      maximum == r.maximum ? sum : (maximum == lowest ? sum : sum * expf(maximum - r.maximum));
  r.sum = blockSum<kRow>(scaled, shared);
  r.total = s.smoothing > 0 ? blockSum<kRow>(total, shared) : 0.0f;
  return r;
}

// What a row adds to the loss; `chosen` is the logit of the target, NaN where the target is not an id.
__device__ __forceinline__ double rowLoss(const CudaLoss& s, const RowStatistics& r, float chosen) {
  const float logSum = logf(r.sum);
  const float loss = (1.0f - s.smoothing) * (logSum - (chosen - r.maximum));
  if (!(s.smoothing > 0)) return loss;
  const float mean = r.total / static_cast<float>(s.vocabulary) - r.maximum;
  return loss + s.smoothing * (logSum - mean);
}

// loss (2) = [loss +] {Σ losses, Σ 1} over the rows with a target that counts; one block, in a fixed order.
template <int kThreads>
__global__ void __launch_bounds__(kThreads)
    sumRowLosses(const double* losses, const int32_t* targets, int64_t rows, int64_t ignoreIndex,
                 bool accumulate, double* loss) {
  __shared__ double shared[kThreads / 32];
  double total = 0, valid = 0;
  for (int64_t row = threadIdx.x; row < rows; row += kThreads) {
    if (targets[row] == ignoreIndex) continue;
    total += losses[row];
    valid += 1;
  }
  total = blockSum<kThreads>(total, shared);
  valid = blockSum<kThreads>(valid, shared);
  if (threadIdx.x > 0) return;
  loss[0] = accumulate ? loss[0] + total : total;
  loss[1] = accumulate ? loss[1] + valid : valid;
}

}  // namespace tesserae
