// Reading the weight, once, is all that takes time. A warp has 8 outputs (or a few times 8) of up to 16 rows
// (or a few times 16) on the tensor cores, and a share of the inputs: every kWarps-th run of 32. The shares
// are added in the order of the warps. Neither depends on the number of rows.
#include "ops/linear/few_rows.h"

#include "ops/activation/functions.cuh"
#include "ops/cuda_dependent_launch.cuh"
#include "ops/cuda_mma.cuh"
#include "ops/cuda_support.cuh"

namespace tesserae {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kRun = 32;  // inputs that a warp multiplies at a time: 8 of them are a lane's, in 16 bytes

__device__ __forceinline__ float activateAs(ActivationFunction function, float x) {
  switch (function) {
    case ActivationFunction::Gelu:
      return cudaActivate<ActivationFunction::Gelu>(x);
    case ActivationFunction::GeluNew:
      return cudaActivate<ActivationFunction::GeluNew>(x);
    case ActivationFunction::Relu:
      return cudaActivate<ActivationFunction::Relu>(x);
    case ActivationFunction::Silu:
      return cudaActivate<ActivationFunction::Silu>(x);
    case ActivationFunction::Tanh:
      return cudaActivate<ActivationFunction::Tanh>(x);
    default:
      return x;
  }
}

template <class T>
__device__ __forceinline__ uint4 loadEight(const T* from, bool inside) {
  return inside ? *reinterpret_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
}

// 16 kRowTiles rows by 8 kColumnTiles outputs a block. A lane's g = lane / 4 and t = lane % 4: it holds
// inputs 8 t .. 8 t + 7 of a run, of output g of each column tile and of rows g and g + 8 of each row tile.
// The order of inputs in the product's slots is free, as long as both operands agree.
template <class T, class Out, int kRowTiles, int kColumnTiles, int kAhead>
__global__ void __launch_bounds__(kThreads)
    fewRowsKernel(const T* x, const T* weight, const float* bias, Out* y, int32_t rows, int32_t in,
                  int32_t out, ActivationFunction function) {
  constexpr int kRows = 16 * kRowTiles, kColumns = 8 * kColumnTiles;
  __shared__ float parts[kWarps][kRows][kColumns];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int32_t firstRow = static_cast<int32_t>(blockIdx.y) * kRows;
  const int32_t firstColumn = static_cast<int32_t>(blockIdx.x) * kColumns;
  float sums[kRowTiles][kColumnTiles][4] = {};
  uint4 w[kAhead][kColumnTiles];
  const auto loadWeights = [&](int32_t first) {
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const int32_t at = first + a * kWarps * kRun + t * 8;
#pragma unroll
      for (int j = 0; j < kColumnTiles; ++j) {
        const int32_t column = firstColumn + j * 8 + g;
        w[a][j] = loadEight(weight + static_cast<int64_t>(column) * in + at, column < out && at < in);
      }
    }
  };
  releaseSuccessor();
  loadWeights(warp * kRun);
  awaitPredecessor();  // of what this kernel reads, only the rows are its predecessor's
  for (int32_t first = warp * kRun; first < in; first += kWarps * kRun * kAhead) {
    uint4 v[kAhead][kRowTiles][2];
    if (first >= kWarps * kRun) loadWeights(first);
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const int32_t at = first + a * kWarps * kRun + t * 8;
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int32_t row = firstRow + i * 16 + half * 8 + g;
          v[a][i][half] = loadEight(x + static_cast<int64_t>(row) * in + at, row < rows && at < in);
        }
      }
    }
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
        const uint4 upper = v[a][i][0], lower = v[a][i][1];
        const uint32_t front[4] = {upper.x, lower.x, upper.y, lower.y};
        const uint32_t back[4] = {upper.z, lower.z, upper.w, lower.w};
#pragma unroll
        for (int j = 0; j < kColumnTiles; ++j) {
          multiplyAccumulate<T>(sums[i][j], front, w[a][j].x, w[a][j].y);
          multiplyAccumulate<T>(sums[i][j], back, w[a][j].z, w[a][j].w);
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
    for (int j = 0; j < kColumnTiles; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) parts[warp][i * 16 + e / 2 * 8 + g][j * 8 + t * 2 + e % 2] = sums[i][j][e];
    }
  }
  __syncthreads();
  for (int index = threadIdx.x; index < kRows * kColumns; index += kThreads) {
    const int32_t row = firstRow + index / kColumns, column = firstColumn + index % kColumns;
    if (row >= rows || column >= out) continue;
    float sum = bias ? bias[column] : 0.0f;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) sum += parts[w][index / kColumns][index % kColumns];
    y[static_cast<int64_t>(row) * out + column] = fromFloat<Out>(activateAs(function, sum));
  }
}

// fp32: a warp an output, for 8 rows at a time; a lane takes every 32nd run of 4 inputs.
template <class Out>
__global__ void __launch_bounds__(kThreads)
    fewRowsPlain(const float* x, const float* weight, const float* bias, Out* y, int32_t rows, int32_t in,
                 int32_t out, ActivationFunction function) {
  constexpr int kRows = 8;
  const int lane = threadIdx.x % 32;
  const int32_t column = static_cast<int32_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  const int32_t firstRow = static_cast<int32_t>(blockIdx.y) * kRows;
  releaseSuccessor();
  awaitPredecessor();
  if (column >= out) return;
  float sums[kRows] = {};
  for (int32_t at = lane * 4; at < in; at += 128) {
    const float4 w = *reinterpret_cast<const float4*>(weight + static_cast<int64_t>(column) * in + at);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (firstRow + r >= rows) continue;
      const float4 v = *reinterpret_cast<const float4*>(x + static_cast<int64_t>(firstRow + r) * in + at);
      sums[r] = fmaf(v.x, w.x, fmaf(v.y, w.y, fmaf(v.z, w.z, fmaf(v.w, w.w, sums[r]))));
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float sum = warpSum(sums[r]) + (bias ? bias[column] : 0.0f);
    if (lane == 0 && firstRow + r < rows)
      y[static_cast<int64_t>(firstRow + r) * out + column] = fromFloat<Out>(activateAs(function, sum));
  }
}

// kAhead: runs of inputs in flight. Sums are added in the same order for any.
template <class T, class Out, int kRowTiles, int kColumnTiles, int kAhead>
void launchTiles(CUstream_st* stream, const FewRows& p) {
  const dim3 grid(static_cast<unsigned>(divideUp(p.out, 8 * kColumnTiles)),
                  static_cast<unsigned>(divideUp(p.rows, 16 * kRowTiles)));
  launchDependent("linear", fewRowsKernel<T, Out, kRowTiles, kColumnTiles, kAhead>, grid, kThreads, stream,
                  static_cast<const T*>(p.x), static_cast<const T*>(p.weight), p.bias, static_cast<Out*>(p.y),
                  static_cast<int32_t>(p.rows), static_cast<int32_t>(p.in), static_cast<int32_t>(p.out),
                  p.function);
}

// Wide tiles read the rows less often, narrow ones make more blocks.
template <class T, class Out>
void launch(CUstream_st* stream, const FewRows& p) {
  const bool wide = p.out >= 8192, deep = p.in > 3 * kWarps * kRun;
  if (p.rows <= 16) {
    if (wide) return launchTiles<T, Out, 1, 4, 3>(stream, p);
    return deep ? launchTiles<T, Out, 1, 1, 6>(stream, p) : launchTiles<T, Out, 1, 1, 3>(stream, p);
  }
  if (!wide) return deep ? launchTiles<T, Out, 1, 2, 6>(stream, p) : launchTiles<T, Out, 1, 2, 3>(stream, p);
  launchTiles<T, Out, 4, 2, 3>(stream, p);
}

}  // namespace

void multiplyFewRows(CUstream_st* stream, const FewRows& p) {
  if (p.rows <= 0 || p.out <= 0) return;
  if (p.type == DType::F32) {
    const dim3 grid(static_cast<unsigned>(divideUp(p.out, kWarps)),
                    static_cast<unsigned>(divideUp(p.rows, 8)));
    launchDependent("linear", fewRowsPlain<float>, grid, kThreads, stream, static_cast<const float*>(p.x),
                    static_cast<const float*>(p.weight), p.bias, static_cast<float*>(p.y),
                    static_cast<int32_t>(p.rows), static_cast<int32_t>(p.in), static_cast<int32_t>(p.out),
                    p.function);
  } else if (p.type == DType::BF16) {
    p.resultType == DType::F32 ? launch<__nv_bfloat16, float>(stream, p)
                               : launch<__nv_bfloat16, __nv_bfloat16>(stream, p);
  } else {
    p.resultType == DType::F32 ? launch<__half, float>(stream, p) : launch<__half, __half>(stream, p);
  }
}

}  // namespace tesserae
