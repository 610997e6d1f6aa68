#include "ops/cross_entropy/rows.cuh"
#include "ops/registry.h"

namespace tesserae {

namespace {

// logits (rows, V→Vp) -> losses (rows), lse (rows)
template <class T, int kRow>
__global__ void __launch_bounds__(kRowThreads<kRow>)
    lossRows(CudaLoss s, const T* logits, const int32_t* targets, double* losses, float* lse) {
  __shared__ float shared[kLossThreads / 32];
  const int64_t row = rowOfThread<kRow>();
  if (row >= s.rows) return;
  const int32_t target = targets[row];
  if (target == s.ignoreIndex && !lse) return;
  const RowStatistics r =
      rowStatistics<kRow>(s, logits + row * s.columns, target, static_cast<T*>(nullptr), shared);
  storeLoss<kRow>(s, r, target, losses + row);
  if (lse && threadIdx.x % kRow == 0) lse[row] = r.maximum + logf(r.sum);
}

// dlogits may be the memory of logits.
template <class T, int kRow>
__global__ void __launch_bounds__(kRowThreads<kRow>)
    gradientRows(CudaLoss s, const T* logits, const int32_t* targets, const float* lse, const float* gradient,
                 T* dlogits) {
  const int64_t row = rowOfThread<kRow>();
  if (row >= s.rows) return;
  storeRowGradient<kRow>(s, logits + row * s.columns, dlogits + row * s.columns, lse[row], gradient[0],
                         gradient[0], targets[row]);
}

void crossEntropy(const KernelContext& c) {
  const TensorView& logits = c.inputs[0];
  const int32_t* targets = c.inputs[1].i32();
  requireVectors("cross_entropy", logits.columns);
  const CudaLoss s = cudaLoss(*c.attributes, logits.rows, logits.logicalColumns, logits.columns);
  double* losses = static_cast<double*>(c.workspace);  // cudaLossBytes(rows)
  dispatchActivationType(logits.dtype, "cross_entropy", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    dispatchRowThreads(s.columns, [&](auto constant) {
      constexpr int kRow = decltype(constant)::value;
      lossRows<T, kRow><<<rowBlocks<kRow>(s.rows), kRowThreads<kRow>, 0, cudaStream(c)>>>(
          s, static_cast<const T*>(logits.data), targets, losses, c.outputs[1].f32());
    });
  });
  cudaCheckLaunch("cross_entropy");
  sumLosses(cudaStream(c), losses, targets, s.rows, s.ignoreIndex, c.accumulate[0],
            c.outputs[0].as<LossSum>(), "cross_entropy");
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
      gradientRows<T, kRow><<<rowBlocks<kRow>(s.rows), kRowThreads<kRow>, 0, cudaStream(c)>>>(
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
