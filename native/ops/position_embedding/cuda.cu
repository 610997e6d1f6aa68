#include "ops/cuda_support.cuh"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;
constexpr int kBackwardThreads = 64;

// y[b, t] = x[b, t] + weight[start[b] + t - starts[b, t]]; eight columns a thread. y may be x.
template <class T>
__global__ void __launch_bounds__(kThreads)
    forwardKernel(const T* x, const float* weight, const int32_t* start, const int32_t* starts, T* y,
                  uint32_t vectors, uint32_t vectorsOfRow, uint32_t time, int32_t last) {
  const uint32_t vector = blockIdx.x * kThreads + threadIdx.x;
  if (vector >= vectors) return;
  const uint32_t row = vector / vectorsOfRow, column = vector % vectorsOfRow;
  int32_t position = static_cast<int32_t>(row % time);
  if (start) position += start[row / time];
  if (starts) position -= starts[row];
  // Only rows beyond a sample's length, which nobody reads, can lie beyond the table.
  if (position > last) position = last;
  float v[kVector], added[kVector];
  loadVector(x + static_cast<int64_t>(vector) * kVector, v);
  loadVector(weight + (static_cast<int64_t>(position) * vectorsOfRow + column) * kVector, added);
#pragma unroll
  for (int i = 0; i < kVector; ++i) v[i] += added[i];
  storeVector(y + static_cast<int64_t>(vector) * kVector, v);
}

// dweight[t] = Σ_b dy[b, t] in the order of b; rows of the table beyond T are zero. Eight columns of a
// position a thread.
template <class T>
__global__ void __launch_bounds__(kBackwardThreads)
    backwardKernel(const T* dy, float* dweight, uint32_t vectors, uint32_t vectorsOfTime, int32_t batch,
                   bool accumulate) {
  const uint32_t vector = blockIdx.x * kBackwardThreads + threadIdx.x;
  if (vector >= vectors) return;
  float* out = dweight + static_cast<int64_t>(vector) * kVector;
  const bool beyond = vector >= vectorsOfTime;
  if (beyond && accumulate) return;
  float sum[kVector] = {};
  if (accumulate) loadVector(out, sum);
  if (!beyond) {
    const T* from = dy + static_cast<int64_t>(vector) * kVector;
    const int64_t stride = static_cast<int64_t>(vectorsOfTime) * kVector;
#pragma unroll 8
    for (int32_t b = 0; b < batch; ++b) {
      float v[kVector];
      loadVector(from + b * stride, v);
#pragma unroll
      for (int i = 0; i < kVector; ++i) sum[i] += v[i];
    }
  }
  storeVector(out, sum);
}

// The same where rows have documents: dweight[p] = Σ dy[b, t] over all t with t - starts[b, t] = p. A block
// has a position, and eight columns a lane; a warp sums every kParts-th row of the batch, and the parts are
// added in their order.
constexpr int kParts = 8;

template <class T>
__global__ void __launch_bounds__(32 * kParts)
    documentsBackwardKernel(const T* dy, const int32_t* starts, float* dweight, int32_t batch, int32_t time,
                            int32_t vectorsOfRow, bool accumulate) {
  __shared__ float parts[kParts][32 * kVector];
  const int32_t position = static_cast<int32_t>(blockIdx.x), warp = static_cast<int32_t>(threadIdx.x / 32),
                lane = static_cast<int32_t>(threadIdx.x % 32),
                column = static_cast<int32_t>(blockIdx.y) * 32 + lane;
  float sum[kVector] = {};
  for (int32_t b = warp; b < batch; b += kParts) {
    const int64_t row = static_cast<int64_t>(b) * time;
    for (int32_t first = position; first < time; first += 32) {
      const int32_t t = first + lane;
      const bool here = t < time && t - starts[row + t] == position;
      for (uint32_t left = __ballot_sync(0xffffffffu, here); left != 0; left &= left - 1) {
        if (column >= vectorsOfRow) continue;
        float v[kVector];
        loadVector(dy + ((row + first + __ffs(left) - 1) * vectorsOfRow + column) * kVector, v);
#pragma unroll
        for (int i = 0; i < kVector; ++i) sum[i] += v[i];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kVector; ++i) parts[warp][lane * kVector + i] = sum[i];
  __syncthreads();
  if (warp > 0 || column >= vectorsOfRow) return;
  float* out = dweight + (static_cast<int64_t>(position) * vectorsOfRow + column) * kVector;
  float total[kVector] = {};
  if (accumulate) loadVector(out, total);
  for (int part = 0; part < kParts; ++part) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) total[i] += parts[part][lane * kVector + i];
  }
  storeVector(out, total);
}

void positionEmbedding(const KernelContext& c) {
  const TensorView &x = c.inputs[0], &weight = c.inputs[1];      // (B, T, C), (P, C)
  const TensorView &start = c.inputs[2], &starts = c.inputs[3];  // (B), (B, T)
  const TensorView& y = c.outputs[0];
  requireTypes("position_embedding", x.dtype, {&y});
  requireTypes("position_embedding", DType::F32, {&weight});
  requireVectors("position_embedding", x.columns);
  const uint32_t vectors = static_cast<uint32_t>(x.elements / kVector);
  dispatchActivationType(x.dtype, "position_embedding", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    forwardKernel<T><<<static_cast<unsigned>(divideUp(vectors, kThreads)), kThreads, 0, cudaStream(c)>>>(
        static_cast<const T*>(x.data), weight.f32(), start.i32(), starts.i32(), static_cast<T*>(y.data),
        vectors, static_cast<uint32_t>(x.columns / kVector), static_cast<uint32_t>(x.factors[1].physical),
        static_cast<int32_t>(weight.factors[0].logical - 1));
  });
  cudaCheckLaunch("position_embedding");
}

void positionEmbeddingBackward(const KernelContext& c) {
  const TensorView &dy = c.inputs[0], &starts = c.inputs[2],
                   &dweight = c.outputs[0];  // (B, T, C), (B, T), (P, C)
  requireTypes("position_embedding_backward", DType::F32, {&dweight});
  requireVectors("position_embedding_backward", dy.columns);
  const uint32_t vectors = static_cast<uint32_t>(dweight.elements / kVector);
  const unsigned blocks = static_cast<unsigned>(divideUp(vectors, kBackwardThreads));
  dispatchActivationType(dy.dtype, "position_embedding_backward", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    if (starts.data) {
      const int32_t vectorsOfRow = static_cast<int32_t>(dy.columns / kVector);
      const dim3 grid(static_cast<unsigned>(dweight.rows), static_cast<unsigned>(divideUp(vectorsOfRow, 32)));
      return documentsBackwardKernel<T><<<grid, 32 * kParts, 0, cudaStream(c)>>>(
          static_cast<const T*>(dy.data), starts.i32(), dweight.f32(),
          static_cast<int32_t>(dy.factors[0].physical), static_cast<int32_t>(dy.factors[1].physical),
          vectorsOfRow, c.accumulate[0]);
    }
    backwardKernel<T><<<blocks, kBackwardThreads, 0, cudaStream(c)>>>(
        static_cast<const T*>(dy.data), dweight.f32(), vectors,
        static_cast<uint32_t>(dy.factors[1].physical * dy.columns / kVector),
        static_cast<int32_t>(dy.factors[0].physical), c.accumulate[0]);
  });
  cudaCheckLaunch("position_embedding_backward");
}

}  // namespace

void register_position_embedding_cuda(KernelRegistry& registry) {
  registry.add("position_embedding", positionEmbedding);
  registry.add("position_embedding_backward", positionEmbeddingBackward);
}

}  // namespace tesserae
