#include <type_traits>

#include "ops/attributes.h"
#include "ops/cuda_support.cuh"
#include "ops/layer_norm/plan.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

// A row belongs to kLanes threads, a warp or a whole block, and stays in their registers: kVectors vectors of
// eight elements each, 8 * kLanes columns apart.
template <int kLanes>
__device__ __forceinline__ float rowSum(float x, float* shared) {
  if constexpr (kLanes == 32) return warpSum(x);
  return blockSum<kLanes>(x, shared);
}

// y = (s - mean) * rstd * weight + bias, s = x + residual. Statistics of s before it is rounded. y may be x,
// sum may be x or residual: a thread reads its elements before it stores them.
template <class T, int kLanes, int kVectors>
__global__ void __launch_bounds__(kThreads)
    forwardKernel(const T* x, const float* weight, const float* bias, const T* residual, T* y, T* sum,
                  float* mean, float* rstd, int64_t rows, int32_t columns, int32_t logical, float epsilon) {
  __shared__ float shared[kWarps];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / kLanes) + threadIdx.x / kLanes;
  if (row >= rows) return;  // a whole warp, where rows are a warp's
  const int lane = threadIdx.x % kLanes;
  const int64_t offset = row * columns;
  float v[kVectors][kVector];
  float total = 0;
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const int32_t column = (k * kLanes + lane) * kVector;
    if (column < columns) {
      loadVector(x + offset + column, v[k]);
    } else {
#pragma unroll
      for (int i = 0; i < kVector; ++i) v[k][i] = 0;
    }
  }
  if (residual) {
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      const int32_t column = (k * kLanes + lane) * kVector;
      if (column >= columns) continue;
      float added[kVector];
      loadVector(residual + offset + column, added);
#pragma unroll
      for (int i = 0; i < kVector; ++i) v[k][i] += added[i];
      if (sum) storeVector(sum + offset + column, v[k]);
    }
  }
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
#pragma unroll
    for (int i = 0; i < kVector; ++i) total += v[k][i];  // padding lanes are zero
  }
  const float m = rowSum<kLanes>(total, shared) / static_cast<float>(logical);
  float squares = 0;
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const int32_t column = (k * kLanes + lane) * kVector;
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const float d = column + i < logical ? v[k][i] - m : 0.0f;
      squares += d * d;
    }
  }
  const float variance = rowSum<kLanes>(squares, shared) / static_cast<float>(logical);
  const float r = 1.0f / sqrtf(variance + epsilon);
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    const int32_t column = (k * kLanes + lane) * kVector;
    if (column >= columns) continue;
    // weight and bias are zero in padding lanes, so y is too.
    float w[kVector];
    loadVector(weight + column, w);
#pragma unroll
    for (int i = 0; i < kVector; ++i) v[k][i] = (v[k][i] - m) * r * w[i];
    if (bias) {
      loadVector(bias + column, w);
#pragma unroll
      for (int i = 0; i < kVector; ++i) v[k][i] += w[i];
    }
    storeVector(y + offset + column, v[k]);
  }
  if (lane == 0) {
    if (mean) mean[row] = m;
    if (rstd) rstd[row] = r;
  }
}

// dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) + addend, g = dy * weight. A block takes every
// gridDim.x-th group of rows and keeps its part of dweight = Σ dy * xhat and dbias = Σ dy in registers; it
// ends in partial: (gridDim.x, 2, columns), null where neither is asked for. dx may be dy or addend: a row is
// read by those who write it, before they do.
template <class T, int kLanes, int kVectors>
__global__ void __launch_bounds__(kThreads)
    backwardKernel(const T* dy, const T* x, const float* weight, const float* mean, const float* rstd,
                   const T* addend, T* dx, float* partial, int64_t rows, int32_t columns, int32_t logical) {
  constexpr int kRows = kThreads / kLanes;
  // First for reductions within a row, then for those between the rows of a block.
  __shared__ float shared[kRows > 1 ? kVectors * 32 * kVector : kWarps];
  const int lane = threadIdx.x % kLanes;
  const float inverse = 1.0f / static_cast<float>(logical);
  const int64_t step = static_cast<int64_t>(gridDim.x) * kRows;
  float dw[kVectors][kVector] = {}, db[kVectors][kVector] = {};
  // A row as it is in memory. Where registers allow the next one is on its way while one is computed.
  constexpr bool kAhead = sizeof(T) == 2;
  struct Row {
    Packed<T> dy[kVectors], x[kVectors], addend[kVectors];
    float mean, rstd;
  };
  const auto load = [&](Row& to, int64_t row) {
    const int64_t offset = row * columns;
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      const int32_t column = (k * kLanes + lane) * kVector;
      if (column >= columns) continue;
      to.dy[k] = loadPacked(dy + offset + column);
      to.x[k] = loadPacked(x + offset + column);
      if (addend) to.addend[k] = loadPacked(addend + offset + column);
    }
    to.mean = mean[row];
    to.rstd = rstd[row];
  };
  Row next;
  int64_t row = static_cast<int64_t>(blockIdx.x) * kRows + threadIdx.x / kLanes;
  if (kAhead && row < rows) load(next, row);
  for (; row < rows; row += step) {
    Row now;
    if constexpr (kAhead) {
      now = next;
      if (row + step < rows) load(next, row + step);
    } else {
      load(now, row);
    }
    const float m = now.mean, r = now.rstd;
    float sumG = 0, sumGX = 0;
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      const int32_t column = (k * kLanes + lane) * kVector;
      if (column >= columns) continue;
      float w[kVector];
      loadVector(weight + column, w);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {  // dy and weight are zero in padding lanes
        const float d = toFloat(now.dy[k].v[i]), xhat = (toFloat(now.x[k].v[i]) - m) * r, gw = d * w[i];
        sumG += gw;
        sumGX += gw * xhat;
        dw[k][i] += d * xhat;
        db[k][i] += d;
      }
    }
    const float meanG = rowSum<kLanes>(sumG, shared) * inverse;
    const float meanGX = rowSum<kLanes>(sumGX, shared) * inverse;
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      const int32_t column = (k * kLanes + lane) * kVector;
      if (column >= columns) continue;
      float w[kVector], out[kVector];
      loadVector(weight + column, w);
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        const float xhat = (toFloat(now.x[k].v[i]) - m) * r;
        out[i] = r * (toFloat(now.dy[k].v[i]) * w[i] - meanG - xhat * meanGX);
        if (addend) out[i] += toFloat(now.addend[k].v[i]);
        out[i] = column + i < logical ? out[i] : 0.0f;
      }
      storeVector(dx + row * columns + column, out);
    }
  }
  if (!partial) return;
  float* to = partial + static_cast<int64_t>(blockIdx.x) * 2 * columns;
#pragma unroll
  for (int which = 0; which < 2; ++which) {
    if constexpr (kRows == 1) {
#pragma unroll
      for (int k = 0; k < kVectors; ++k) {
        const int32_t column = (k * kLanes + lane) * kVector;
        if (column < columns) storeVector(to + which * columns + column, which ? db[k] : dw[k]);
      }
    } else {
      // The warps add theirs in turn. Elements are interleaved, so that lanes meet different banks.
      for (int warp = 0; warp < kRows; ++warp) {
        if (static_cast<int>(threadIdx.x) / 32 == warp) {
#pragma unroll
          for (int k = 0; k < kVectors; ++k) {
#pragma unroll
            for (int i = 0; i < kVector; ++i) {
              float& slot = shared[(k * kVector + i) * 32 + lane];
              const float mine = which ? db[k][i] : dw[k][i];
              slot = warp ? slot + mine : mine;
            }
          }
        }
        __syncthreads();
      }
      for (int32_t column = threadIdx.x; column < columns; column += kThreads) {
        const int32_t vector = column / kVector, k = vector / 32, i = column % kVector;
        to[which * columns + column] = shared[(k * kVector + i) * 32 + vector % 32];
      }
      __syncthreads();
    }
  }
}

// out[column] = Σ over blocks of partial: 32 columns a block, whose eight warps add an eighth of the partial
// rows each.
__global__ void __launch_bounds__(kThreads)
    reduceKernel(const float* partial, int32_t blocks, int32_t columns, float* dweight, float* dbias,
                 bool addWeight, bool addBias) {
  __shared__ float shared[kWarps][32];
  const int which = blockIdx.y, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float* out = which ? dbias : dweight;
  if (!out) return;
  const int32_t column = blockIdx.x * 32 + lane;
  const int32_t share = (blocks + kWarps - 1) / kWarps;
  const int32_t end = (warp + 1) * share < blocks ? (warp + 1) * share : blocks;
  float sum = 0;
  if (column < columns) {
#pragma unroll 8
    for (int32_t block = warp * share; block < end; ++block)
      sum += partial[(static_cast<int64_t>(block) * 2 + which) * columns + column];
  }
  shared[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || column >= columns) return;
  for (int w = 1; w < kWarps; ++w) sum += shared[w][lane];
  out[column] = (which ? addBias : addWeight) ? out[column] + sum : sum;
}

// Calls f(lanes, vectors) with the constants for rows of so many columns: a warp's up to 32 kWarpVectors
// vectors.
template <int kWarpVectors, class F>
void dispatchWidth(const char* operation, int64_t columns, F&& f) {
  requireVectors(operation, columns);
  const int64_t vectors = columns / kVector;
  const std::integral_constant<int, 32> warp{};
  const std::integral_constant<int, kThreads> block{};
  if (vectors <= 32) return f(warp, std::integral_constant<int, 1>{});
  if (vectors <= 64) return f(warp, std::integral_constant<int, 2>{});
  if (vectors <= 96) return f(warp, std::integral_constant<int, 3>{});
  if (vectors <= 128) return f(warp, std::integral_constant<int, 4>{});
  if constexpr (kWarpVectors > 4) {
    if (vectors <= 192) return f(warp, std::integral_constant<int, 6>{});
    if (vectors <= 256) return f(warp, std::integral_constant<int, 8>{});
  }
  if (vectors <= kThreads) return f(block, std::integral_constant<int, 1>{});
  if (vectors <= 2 * kThreads) return f(block, std::integral_constant<int, 2>{});
  if (vectors <= 4 * kThreads) return f(block, std::integral_constant<int, 4>{});
  fail(ErrorCode::Config, "%s: rows of %lld elements are wider than the %d that the CUDA kernel takes",
       operation, static_cast<long long>(columns), 4 * kThreads * kVector);
}

void layerNorm(const KernelContext& c) {
  const TensorView &x = c.inputs[0], &weight = c.inputs[1], &bias = c.inputs[2], &residual = c.inputs[3];
  const TensorView &y = c.outputs[0], &sum = c.outputs[1], &mean = c.outputs[2], &rstd = c.outputs[3];
  requireTypes("layer_norm", x.dtype, {&residual, &y, &sum});
  requireTypes("layer_norm", DType::F32, {&weight, &bias, &mean, &rstd});
  dispatchActivationType(x.dtype, "layer_norm", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    dispatchWidth<8>("layer_norm", x.columns, [&](auto lanes, auto vectors) {
      constexpr int kLanes = decltype(lanes)::value, kVectors = decltype(vectors)::value;
      const unsigned blocks = static_cast<unsigned>(divideUp(x.rows, kThreads / kLanes));
      forwardKernel<T, kLanes, kVectors><<<blocks, kThreads, 0, cudaStream(c)>>>(
          static_cast<const T*>(x.data), weight.f32(), bias.f32(), static_cast<const T*>(residual.data),
          static_cast<T*>(y.data), static_cast<T*>(sum.data), mean.f32(), rstd.f32(), x.rows,
          static_cast<int32_t>(x.columns), static_cast<int32_t>(x.logicalColumns),
          static_cast<float>(c.attributes->number("epsilon")));
    });
  });
  cudaCheckLaunch("layer_norm");
}

void layerNormBackward(const KernelContext& c) {
  const char* const name = "layer_norm_backward";
  const TensorView &dy = c.inputs[0], &x = c.inputs[1], &weight = c.inputs[2];
  const TensorView &mean = c.inputs[3], &rstd = c.inputs[4], &addend = c.inputs[5];
  const TensorView &dx = c.outputs[0], &dweight = c.outputs[1], &dbias = c.outputs[2];
  requireTypes(name, x.dtype, {&dy, &addend, &dx});
  requireTypes(name, DType::F32, {&weight, &mean, &rstd, &dweight, &dbias});
  const int32_t columns = static_cast<int32_t>(x.columns);
  const bool sums = dweight.data || dbias.data;
  float* partial = sums ? static_cast<float*>(c.workspace) : nullptr;
  int64_t blocks = 0;
  dispatchActivationType(x.dtype, name, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    dispatchWidth<4>(name, x.columns, [&](auto lanes, auto vectors) {
      constexpr int kLanes = decltype(lanes)::value, kVectors = decltype(vectors)::value;
      const auto kernel = backwardKernel<T, kLanes, kVectors>;
      blocks = divideUp(x.rows, kThreads / kLanes);
      const int64_t resident = residentBlocks(kernel, kThreads, name);
      if (blocks > resident) blocks = resident;
      if (blocks > kNormBlocks) blocks = kNormBlocks;
      kernel<<<static_cast<unsigned>(blocks), kThreads, 0, cudaStream(c)>>>(
          static_cast<const T*>(dy.data), static_cast<const T*>(x.data), weight.f32(), mean.f32(), rstd.f32(),
          static_cast<const T*>(addend.data), static_cast<T*>(dx.data), partial, x.rows, columns,
          static_cast<int32_t>(x.logicalColumns));
    });
  });
  cudaCheckLaunch(name);
  if (!sums) return;
  reduceKernel<<<dim3(static_cast<unsigned>(divideUp(columns, 32)), 2), kThreads, 0, cudaStream(c)>>>(
      partial, static_cast<int32_t>(blocks), columns, dweight.f32(), dbias.f32(), c.accumulate[1],
      c.accumulate[2]);
  cudaCheckLaunch(name);
}

}  // namespace

void register_layer_norm_cuda(KernelRegistry& registry) {
  registry.add("layer_norm", layerNorm);
  registry.add("layer_norm_backward", layerNormBackward);
}

}  // namespace tesserae
