#include "ops/cuda_support.cuh"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 128;

// y[b] = x[b, lengths[b] - 1], zero where lengths[b] = 0; a block a row, moved in words of 16 bytes.
__global__ void __launch_bounds__(kThreads)
    lastPositionKernel(const uint4* x, const int32_t* lengths, uint4* y, int64_t time, int64_t wordsOfRow) {
  const int64_t b = blockIdx.x;
  const int32_t length = lengths[b];
  const uint4* in = x + (b * time + length - 1) * wordsOfRow;
  for (int64_t i = threadIdx.x; i < wordsOfRow; i += kThreads)
    y[b * wordsOfRow + i] = length > 0 ? in[i] : make_uint4(0, 0, 0, 0);
}

void lastPosition(const KernelContext& c) {
  const TensorView &x = c.inputs[0], &y = c.outputs[0];  // (B, T, C), (B, C)
  requireTypes("last_position", x.dtype, {&y});
  requireVectors("last_position", x.columns);
  lastPositionKernel<<<static_cast<unsigned>(x.factors[0].physical), kThreads, 0, cudaStream(c)>>>(
      static_cast<const uint4*>(x.data), c.inputs[1].i32(), static_cast<uint4*>(y.data),
      x.factors[1].physical, x.columns * dtypeSize(x.dtype) / static_cast<int64_t>(sizeof(uint4)));
  cudaCheckLaunch("last_position");
}

// dx[b, t] = dy[b] at t = lengths[b] - 1, zero elsewhere; a block a position.
__global__ void __launch_bounds__(kThreads)
    backwardKernel(const uint4* dy, const int32_t* lengths, uint4* dx, int64_t time, int64_t wordsOfRow) {
  const int64_t row = blockIdx.x, b = row / time;
  const bool isLast = row % time == lengths[b] - 1;
  for (int64_t i = threadIdx.x; i < wordsOfRow; i += kThreads)
    dx[row * wordsOfRow + i] = isLast ? dy[b * wordsOfRow + i] : make_uint4(0, 0, 0, 0);
}

void lastPositionBackward(const KernelContext& c) {
  const TensorView &dy = c.inputs[0], &dx = c.outputs[0];  // (B, C), (B, T, C)
  requireTypes("last_position_backward", dy.dtype, {&dx});
  requireVectors("last_position_backward", dx.columns);
  backwardKernel<<<static_cast<unsigned>(dx.rows), kThreads, 0, cudaStream(c)>>>(
      static_cast<const uint4*>(dy.data), c.inputs[2].i32(), static_cast<uint4*>(dx.data),
      dx.factors[1].physical, dx.columns * dtypeSize(dx.dtype) / static_cast<int64_t>(sizeof(uint4)));
  cudaCheckLaunch("last_position_backward");
}

}  // namespace

void register_last_position_cuda(KernelRegistry& registry) {
  registry.add("last_position", lastPosition);
  registry.add("last_position_backward", lastPositionBackward);
}

}  // namespace tesserae
