#include <type_traits>

#include "ops/attributes.h"
#include "ops/choice.h"
#include "ops/cuda_dependent_launch.cuh"
#include "ops/cuda_mma.cuh"
#include "ops/cuda_support.cuh"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
// Dynamic shared memory that, beside a kernel's own, needs no leave of the driver.
constexpr int kMostCopiedBytes = 47 << 10;
constexpr int64_t kFewRows = 256;  // as sampling has them
constexpr int kStages = 3;  // rows of a block of the backward kernel, one in work and the others on their way

// A row belongs to kLanes threads, a warp or a whole block, and stays in their registers: kVectors vectors of
// eight elements each, 8 * kLanes columns apart.
template <int kLanes>
__device__ __forceinline__ float rowSum(float x, float* shared) {
  if constexpr (kLanes == 32) return warpSum(x);
  return blockSum<kLanes>(x, shared);
}

// y = (s - mean) * rstd * weight + bias, s = x + residual. Statistics of s before it is rounded. y may be x,
// sum may be x or residual: a thread reads its elements before it stores them. kFew: the kernel is over
// before the memory is busy, so it may start early and has weight and bias before it needs them.
template <class T, int kLanes, int kVectors, bool kFew>
__global__ void __launch_bounds__(kThreads)
    forwardKernel(const T* x, const float* weight, const float* bias, const T* residual, T* y, T* sum,
                  float* mean, float* rstd, int64_t rows, int32_t columns, int32_t logical, float epsilon) {
  __shared__ float shared[kWarps];
  const int64_t row = static_cast<int64_t>(blockIdx.x) * (kThreads / kLanes) + threadIdx.x / kLanes;
  if (row >= rows) return;  // a whole warp, where rows are a warp's
  const int lane = threadIdx.x % kLanes;
  const int64_t offset = row * columns;
  float w[kVectors][kVector], b[kVectors][kVector] = {};
  const auto loadWeights = [&](int k) {
    const int32_t column = (k * kLanes + lane) * kVector;
    if (column >= columns) return;
    loadVector(weight + column, w[k]);
    if (bias) loadVector(bias + column, b[k]);
  };
  if constexpr (kFew) {
    releaseSuccessor();
#pragma unroll
    for (int k = 0; k < kVectors; ++k) loadWeights(k);
  }
  awaitPredecessor();
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
    if constexpr (!kFew) loadWeights(k);
#pragma unroll
    for (int i = 0; i < kVector; ++i) v[k][i] = (v[k][i] - m) * r * w[k][i] + b[k][i];
    storeVector(y + offset + column, v[k]);
  }
  if (lane == 0) {
    if (mean) mean[row] = m;
    if (rstd) rstd[row] = r;
  }
}

// dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) + addend, g = dy * weight. A thread has eight columns, a
// block as many threads as a row has vectors; it takes every gridDim.x-th row and keeps its part of
// dweight = Σ dy * xhat, dbias = Σ dy and, with kColumnSums, Σ dx in registers. They end in partial:
// (gridDim.x, 2 or 3, columns), null where none is asked for. dx may be dy or addend. Where blocks are small,
// each thread copies its columns of the next rows to shared memory meanwhile: the memory is busy, and
// registers are left for many blocks.
template <class T, int kMostThreads, bool kColumnSums>
__global__ void __launch_bounds__(kMostThreads, kMostThreads <= kThreads ? 3 : 1)
    backwardKernel(const T* dy, const T* x, const float* weight, const float* mean, const float* rstd,
                   const T* addend, T* dx, float* partial, int64_t rows, int32_t columns, int32_t logical) {
  constexpr bool kCopied = kMostThreads <= kThreads;
  extern __shared__ __align__(16) char memory[];
  // Sums of g and g * xhat by warp, twice: a warp may be a row ahead of another.
  __shared__ float2 shared[2][32];
  const int warps = static_cast<int>(blockDim.x) / 32, warp = threadIdx.x / 32;
  const int32_t column = static_cast<int32_t>(threadIdx.x) * kVector;
  const bool inside = column < columns;
  const float inverse = 1.0f / static_cast<float>(logical);
  float w[kVector] = {}, dw[kVector] = {}, db[kVector] = {};
  [[maybe_unused]] float columnSums[kVector] = {};
  if (inside) loadVector(weight + column, w);
  // This thread's columns of dy, x and, where there is one, addend.
  const int tensors = addend ? 3 : 2;
  const auto copyOf = [&](int stage, int tensor) {
    return reinterpret_cast<T*>(memory) + ((stage * tensors + tensor) * blockDim.x + threadIdx.x) * kVector;
  };
  const auto copy = [&](int64_t row, int stage) {
    if (inside && row < rows) {
      const int64_t at = row * columns + column;
#pragma unroll
      for (int i = 0; i < kVector; i += 16 / static_cast<int>(sizeof(T))) {
        copyAsync16(copyOf(stage, 0) + i, dy + at + i, true);
        copyAsync16(copyOf(stage, 1) + i, x + at + i, true);
        if (addend) copyAsync16(copyOf(stage, 2) + i, addend + at + i, true);
      }
    }
    commitCopies();
  };
  if constexpr (kCopied) {
    for (int i = 0; i < kStages - 1; ++i) copy(blockIdx.x + static_cast<int64_t>(i) * gridDim.x, i);
  }
  int turn = 0, stage = 0;
  float m = mean[blockIdx.x], r = rstd[blockIdx.x];
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x, turn ^= 1) {
    const int64_t at = row * columns + column, next = row + gridDim.x < rows ? row + gridDim.x : row;
    Packed<T> g{}, in{}, around{};
    if constexpr (kCopied) {
      copy(row + static_cast<int64_t>(kStages - 1) * gridDim.x, stage == 0 ? kStages - 1 : stage - 1);
      waitCopies<kStages - 1>();
    }
    const float nextMean = mean[next], nextRstd = rstd[next];
    if (inside) {
      g = loadPacked(kCopied ? copyOf(stage, 0) : dy + at);
      in = loadPacked(kCopied ? copyOf(stage, 1) : x + at);
    }
    float sumG = 0, sumGX = 0;
#pragma unroll
    for (int j = 0; j < kVector; ++j) {  // dy and weight are zero in padding lanes
      const float d = toFloat(g.v[j]), xhat = (toFloat(in.v[j]) - m) * r, gw = d * w[j];
      sumG += gw;
      sumGX += gw * xhat;
      dw[j] += d * xhat;
      db[j] += d;
    }
    sumG = warpSum(sumG);
    sumGX = warpSum(sumGX);
    if (threadIdx.x % 32 == 0) shared[turn][warp] = {sumG, sumGX};
    __syncthreads();
    float2 sums = shared[turn][0];
    for (int other = 1; other < warps; ++other) {
      sums.x += shared[turn][other].x;
      sums.y += shared[turn][other].y;
    }
    if (inside) {
      if (addend) around = loadPacked(kCopied ? copyOf(stage, 2) : addend + at);
      const float meanG = sums.x * inverse, meanGX = sums.y * inverse;
      float out[kVector];
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        const float xhat = (toFloat(in.v[j]) - m) * r;
        const float value = r * (toFloat(g.v[j]) * w[j] - meanG - xhat * meanGX);
        out[j] = column + j < logical ? value + toFloat(around.v[j]) : 0.0f;
        if constexpr (kColumnSums) columnSums[j] += out[j];
      }
      storeVector(dx + at, out);
    }
    m = nextMean;
    r = nextRstd;
    stage = stage == kStages - 1 ? 0 : stage + 1;
  }
  if (!partial || !inside) return;
  float* to = partial + static_cast<int64_t>(blockIdx.x) * (kColumnSums ? 3 : 2) * columns + column;
  storeVector(to, dw);
  storeVector(to + columns, db);
  if constexpr (kColumnSums) storeVector(to + 2 * columns, columnSums);
}

constexpr int kReduceThreads = 1024;
constexpr int kReduceWarps = kReduceThreads / 32;

// Where the sums of the blocks go: dweight, dbias, columnSums, each (columns) or null.
struct ReducedSums {
  float* out[3];
  bool accumulate[3];
};

// out[column] = [out[column] +] Σ over blocks of partial (blocks, gridDim.y, columns): 32 columns a block,
// whose warps add an equal share of the partial rows each.
__global__ void __launch_bounds__(kReduceThreads)
    reduceKernel(const float* partial, int32_t blocks, int32_t columns,
                 const __grid_constant__ ReducedSums to) {
  __shared__ float shared[kReduceWarps][32];
  const int which = blockIdx.y, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float* out = to.out[which];
  if (!out) return;
  const int32_t column = blockIdx.x * 32 + lane;
  const int32_t share = (blocks + kReduceWarps - 1) / kReduceWarps;
  const int32_t end = (warp + 1) * share < blocks ? (warp + 1) * share : blocks;
  float sum = 0;
  if (column < columns) {
#pragma unroll 8
    for (int32_t block = warp * share; block < end; ++block)
      sum += partial[(static_cast<int64_t>(block) * gridDim.y + which) * columns + column];
  }
  shared[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || column >= columns) return;
  for (int w = 1; w < kReduceWarps; ++w) sum += shared[w][lane];
  out[column] = to.accumulate[which] ? out[column] + sum : sum;
}

// A row is at most a block's: 1,024 threads with eight columns each.
void requireWidth(const char* operation, int64_t columns) {
  constexpr int64_t kMostColumns = 1024 * kVector;
  if (columns > kMostColumns) {
    fail(ErrorCode::Config, "%s: rows of %lld elements exceed the limit of %lld of the CUDA kernel",
         operation, static_cast<long long>(columns), static_cast<long long>(kMostColumns));
  }
}

// Calls f(lanes, vectors) with the constants for rows of `columns` columns. Two tensors of a wide row take a
// whole block's registers.
template <class F>
void dispatchWidth(int64_t columns, bool residual, F&& f) {
  const int64_t vectors = columns / kVector;
  const std::integral_constant<int, 32> warp{};
  const std::integral_constant<int, kThreads> block{};
  if (vectors <= 32) return f(warp, std::integral_constant<int, 1>{});
  if (vectors <= 64) return f(warp, std::integral_constant<int, 2>{});
  if (vectors <= 96) return f(warp, std::integral_constant<int, 3>{});
  if (vectors <= 128) return f(warp, std::integral_constant<int, 4>{});
  if (vectors <= 256 && !residual) return f(warp, std::integral_constant<int, 8>{});
  if (vectors <= kThreads) return f(block, std::integral_constant<int, 1>{});
  if (vectors <= 2 * kThreads) return f(block, std::integral_constant<int, 2>{});
  f(block, std::integral_constant<int, 4>{});
}

void layerNorm(const KernelContext& c) {
  const TensorView &x = c.inputs[0], &weight = c.inputs[1], &bias = c.inputs[2], &residual = c.inputs[3];
  const TensorView &y = c.outputs[0], &sum = c.outputs[1], &mean = c.outputs[2], &rstd = c.outputs[3];
  requireTypes("layer_norm", x.dtype, {&residual, &y, &sum});
  requireTypes("layer_norm", DType::F32, {&weight, &bias, &mean, &rstd});
  requireVectors("layer_norm", x.columns);
  requireWidth("layer_norm", x.columns);
  dispatchActivationType(x.dtype, "layer_norm", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    dispatchWidth(x.columns, residual.data != nullptr, [&](auto lanes, auto vectors) {
      constexpr int kLanes = decltype(lanes)::value, kVectors = decltype(vectors)::value;
      const unsigned blocks = static_cast<unsigned>(divideUp(x.rows, kThreads / kLanes));
      constexpr bool kSmall = kVectors <= 4;  // registers for weight and bias too
      const auto kernel = kSmall && x.rows <= kFewRows ? forwardKernel<T, kLanes, kVectors, kSmall>
                                                       : forwardKernel<T, kLanes, kVectors, false>;
      launchDependent(
          "layer_norm", kernel, dim3(blocks), kThreads, cudaStream(c), static_cast<const T*>(x.data),
          weight.f32(), bias.f32(), static_cast<const T*>(residual.data), static_cast<T*>(y.data),
          static_cast<T*>(sum.data), mean.f32(), rstd.f32(), x.rows, static_cast<int32_t>(x.columns),
          static_cast<int32_t>(x.logicalColumns), static_cast<float>(c.attributes->number("epsilon")));
    });
  });
}

void layerNormBackward(const KernelContext& c) {
  const char* const name = "layer_norm_backward";
  const TensorView &dy = c.inputs[0], &x = c.inputs[1], &weight = c.inputs[2];
  const TensorView &mean = c.inputs[3], &rstd = c.inputs[4], &addend = c.inputs[5];
  const TensorView &dx = c.outputs[0], &dweight = c.outputs[1], &dbias = c.outputs[2],
                   &columnSums = c.outputs[3];
  requireTypes(name, x.dtype, {&dy, &addend, &dx});
  requireTypes(name, DType::F32, {&weight, &mean, &rstd, &dweight, &dbias, &columnSums});
  const int32_t columns = static_cast<int32_t>(x.columns);
  const bool sums = dweight.data || dbias.data || columnSums.data;
  float* partial = sums ? static_cast<float*>(c.workspace) : nullptr;
  int64_t blocks = 0;
  const int threads = static_cast<int>(divideUp(columns / kVector, 32) * 32);
  requireVectors(name, x.columns);
  requireWidth(name, x.columns);
  dispatchActivationType(x.dtype, name, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    const int tensors = addend.data ? 3 : 2;
    const int bytes = kStages * tensors * threads * kVector * static_cast<int>(sizeof(T));
    const bool copied = threads <= kThreads && bytes <= kMostCopiedBytes;
    const auto kernelWith = [&](auto sumsColumns) {
      constexpr bool kColumnSums = decltype(sumsColumns)::value;
      return copied ? backwardKernel<T, kThreads, kColumnSums> : backwardKernel<T, 1024, kColumnSums>;
    };
    const auto kernel = columnSums.data ? kernelWith(std::true_type{}) : kernelWith(std::false_type{});
    blocks = residentBlocks(kernel, threads, name, copied ? bytes : 0);
    if (blocks > c.choice->ctas) blocks = c.choice->ctas;
    kernel<<<static_cast<unsigned>(blocks), threads, copied ? bytes : 0, cudaStream(c)>>>(
        static_cast<const T*>(dy.data), static_cast<const T*>(x.data), weight.f32(), mean.f32(), rstd.f32(),
        static_cast<const T*>(addend.data), static_cast<T*>(dx.data), partial, x.rows, columns,
        static_cast<int32_t>(x.logicalColumns));
  });
  cudaCheckLaunch(name);
  if (!sums) return;
  const dim3 grid(static_cast<unsigned>(divideUp(columns, 32)), columnSums.data ? 3 : 2);
  reduceKernel<<<grid, kReduceThreads, 0, cudaStream(c)>>>(
      partial, static_cast<int32_t>(blocks), columns,
      {{dweight.f32(), dbias.f32(), columnSums.f32()}, {c.accumulate[1], c.accumulate[2], c.accumulate[3]}});
  cudaCheckLaunch(name);
}

}  // namespace

void register_layer_norm_cuda(KernelRegistry& registry) {
  registry.add("layer_norm", layerNorm);
  registry.add("layer_norm_backward", layerNormBackward);
}

}  // namespace tesserae
