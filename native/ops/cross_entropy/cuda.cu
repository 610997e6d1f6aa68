#include "ops/cross_entropy/rows.cuh"
#include "ops/registry.h"

namespace tesserae {

namespace {

// logits (rows, V→Vp) -> losses (rows), lse (rows)
template <class T, int kRow>
__global__ void __launch_bounds__(kLossThreads)
    lossRows(CudaLoss s, const T* logits, const int32_t* targets, double* losses, float* lse) {
  __shared__ float shared[kLossThreads / 32];
  const int64_t row = rowOfThread<kRow>();
  if (row >= s.rows) return;
  const int64_t target = targets[row];
  if (target == s.ignoreIndex && !lse) return;
  const T* z = logits + row * s.columns;
  const RowStatistics r = rowStatistics<kRow>(s, z, shared);
  if (threadIdx.x % kRow > 0) return;
  if (lse) lse[row] = r.maximum + logf(r.sum);
  const bool valid = target >= 0 && target < s.vocabulary;
  losses[row] = rowLoss(s, r, valid ? toFloat(z[target]) : NAN);
}

// dlogits may be the memory of logits: a thread writes what it alone has read.
template <class T, int kRow>
__global__ void __launch_bounds__(kLossThreads)
    gradientRows(CudaLoss s, const T* logits, const int32_t* targets, const float* lse, const float* seeds,
                 T* dlogits) {
  const int64_t row = rowOfThread<kRow>();
  if (row >= s.rows) return;
  const int64_t target = targets[row];
  const bool valid = target >= 0 && target < s.vocabulary && target != s.ignoreIndex;
  const float seed = seeds[0], denominator = valid ? lse[row] : 0.0f;
  const float uniform = seed * s.smoothing / static_cast<float>(s.vocabulary);
  const float chosen = seed * (1.0f - s.smoothing);
  for (int64_t column = threadIdx.x % kRow * kVector; column < s.columns; column += kRow * kVector) {
    float v[kVector] = {};
    if (valid) {
      loadVector(logits + row * s.columns + column, v);
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        v[j] = column + j < s.vocabulary ? seed * expf(v[j] - denominator) - uniform : 0.0f;
        if (column + j == target) v[j] -= chosen;
      }
    }
    storeVector(dlogits + row * s.columns + column, v);
  }
}

void crossEntropy(const KernelContext& c) {
  const TensorView& logits = c.inputs[0];
  const int32_t* targets = c.inputs[1].i32();
  requireVectors("cross_entropy", logits.columns);
  const CudaLoss s = cudaLoss(*c.attributes, logits.rows, logits.logicalColumns, logits.columns);
  double* losses = static_cast<double*>(c.workspace);  // (rows)
  dispatchActivationType(logits.dtype, "cross_entropy", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    dispatchRowThreads(s.columns, [&](auto constant) {
      constexpr int kRow = decltype(constant)::value;
      lossRows<T, kRow><<<rowBlocks<kRow>(s.rows), kLossThreads, 0, cudaStream(c)>>>(
          s, static_cast<const T*>(logits.data), targets, losses, c.outputs[1].f32());
    });
  });
  cudaCheckLaunch("cross_entropy");
  sumRowLosses<1024><<<1, 1024, 0, cudaStream(c)>>>(losses, targets, s.rows, s.ignoreIndex, c.accumulate[0],
                                                    c.outputs[0].f64());
  cudaCheckLaunch("cross_entropy");
}

void crossEntropyBackward(const KernelContext& c) {
  const TensorView &logits = c.inputs[0], &dlogits = c.outputs[0];
  requireVectors("cross_entropy_backward", logits.columns);
  requireTypes("cross_entropy_backward", logits.dtype, {&dlogits});
  const CudaLoss s = cudaLoss(*c.attributes, logits.rows, logits.logicalColumns, logits.columns);
  dispatchActivationType(logits.dtype, "cross_entropy_backward", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    dispatchRowThreads(s.columns, [&](auto constant) {
      constexpr int kRow = decltype(constant)::value;
      gradientRows<T, kRow><<<rowBlocks<kRow>(s.rows), kLossThreads, 0, cudaStream(c)>>>(
          s, static_cast<const T*>(logits.data), c.inputs[1].i32(), c.inputs[2].f32(), c.inputs[3].f32(),
          static_cast<T*>(dlogits.data));
    });
  });
  cudaCheckLaunch("cross_entropy_backward");
}

}  // namespace

void register_cross_entropy_cuda(KernelRegistry& registry) {
  registry.add("cross_entropy", crossEntropy);
  registry.add("cross_entropy_backward", crossEntropyBackward);
}

}  // namespace tesserae
