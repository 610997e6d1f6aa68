#include "ops/cross_entropy/rows.cuh"
#include "ops/cuda_gemm.h"
#include "ops/linear_cross_entropy/plan.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

// Rows of logits (rows, V→Vp) become seed (softmax - (1 - ε) onehot - ε / V) in place, zero where the target
// does not count; without seeds they stay. losses (rows)
template <class T, int kRow>
__global__ void __launch_bounds__(kLossThreads)
    replaceByGradient(CudaLoss s, T* logits, const int32_t* targets, const float* seeds, double* losses) {
  __shared__ float shared[kLossThreads / 32];
  const int64_t row = rowOfThread<kRow>();
  if (row >= s.rows) return;
  const int64_t target = targets[row];
  T* z = logits + row * s.columns;
  const int64_t first = threadIdx.x % kRow * kVector;
  if (target == s.ignoreIndex) {
    const float zero[kVector] = {};
    for (int64_t column = first; seeds && column < s.columns; column += kRow * kVector) {
      storeVector(z + column, zero);
    }
    return;
  }
  const bool valid = target >= 0 && target < s.vocabulary;
  const float chosen = valid ? toFloat(z[target]) : NAN;
  const RowStatistics r = rowStatistics<kRow>(s, z, shared);
  if (threadIdx.x % kRow == 0) losses[row] = rowLoss(s, r, chosen);
  if (!seeds) return;
  // All have read the target's logit. A row is a warp or a whole block.
  if constexpr (kRow == 32) {
    __syncwarp();
  } else {
    __syncthreads();
  }
  const float seed = seeds[0], scale = valid ? seed / r.sum : 0.0f;
  const float uniform = valid ? seed * s.smoothing / static_cast<float>(s.vocabulary) : 0.0f;
  const float peak = seed * (1.0f - s.smoothing);
  // From the end, which is still in the cache.
  const int64_t stride = kRow * kVector;
  for (int64_t column = first + (s.columns - 1) / stride * stride; column >= 0; column -= stride) {
    if (column >= s.columns) continue;
    float v[kVector];
    loadVector(z + column, v);
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      // A row without a valid target gives zero, whatever its logits are.
      v[j] = valid && column + j < s.vocabulary ? scale * expf(v[j] - r.maximum) - uniform : 0.0f;
      if (valid && column + j == target) v[j] -= peak;
    }
    storeVector(z + column, v);
  }
}

template <class T>
__global__ void __launch_bounds__(kLossThreads) convertWeight(const float* from, T* to, int64_t elements) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kLossThreads + threadIdx.x) * kVector;
  if (i >= elements) return;
  float v[kVector];
  loadVector(from + i, v);
  storeVector(to + i, v);
}

// x (rows, C), W (V→Vp, C) -> loss, dx (rows, C), dW (V→Vp, C)
template <class T>
void run(const KernelContext& c) {
  const char* const operation = "linear_cross_entropy";
  const TensorView &x = c.inputs[0], &weight = c.inputs[1], &dx = c.outputs[1], &dweight = c.outputs[2];
  const int32_t* targets = c.inputs[2].i32();
  const int64_t rows = x.rows, width = x.columns, columns = weight.rows;
  requireVectors(operation, width);
  requireVectors(operation, columns);
  requireTypes(operation, x.dtype, {&dx});
  const CudaLinearCrossEntropyPlan plan = planCudaLinearCrossEntropy(
      rows, columns, width, static_cast<int64_t>(sizeof(T)), weight.dtype != x.dtype);
  char* workspace = static_cast<char*>(c.workspace);
  double* losses = reinterpret_cast<double*>(workspace + plan.lossOffset);
  const float* seeds = dx.data || dweight.data ? c.inputs[3].f32() : nullptr;
  GemmMatrix w{weight.data, x.dtype, width};
  if (weight.dtype != x.dtype) {
    requireTypes(operation, DType::F32, {&weight});
    w.data = workspace + plan.weightOffset;
    convertWeight<<<static_cast<unsigned>(divideUp(weight.elements / kVector, kLossThreads)), kLossThreads, 0,
                    cudaStream(c)>>>(weight.f32(), static_cast<T*>(w.data), weight.elements);
    cudaCheckLaunch(operation);
  }
  GemmCall call;
  call.precision = c.precision;
  call.workspace = workspace;
  call.workspaceBytes = kGemmWorkspaceBytes;
  for (int64_t panel = 0; panel < plan.panels; ++panel) {
    const int64_t first = panel * plan.panelRows;
    const int64_t count = first + plan.panelRows < rows ? plan.panelRows : rows - first;
    T* z = reinterpret_cast<T*>(workspace + plan.logitsOffset);
    const GemmMatrix in{static_cast<T*>(x.data) + first * width, x.dtype, width}, logits{z, x.dtype, columns};
    call.beta = 0;
    call.shape = {.transB = true, .m = count, .n = columns, .k = width};
    call.a = in;
    call.b = w;
    call.c = logits;
    gemm(cudaStream(c), call);
    const CudaLoss s = cudaLoss(*c.attributes, count, weight.factors[0].logical, columns);
    dispatchRowThreads(columns, [&](auto constant) {
      constexpr int kRow = decltype(constant)::value;
      replaceByGradient<T, kRow><<<rowBlocks<kRow>(count), kLossThreads, 0, cudaStream(c)>>>(
          s, z, targets + first, seeds, losses + first);
    });
    cudaCheckLaunch(operation);
    if (dx.data) {
      call.shape = {.m = count, .n = width, .k = columns};
      call.a = logits;
      call.b = w;
      call.c = {static_cast<T*>(dx.data) + first * width, dx.dtype, width};
      gemm(cudaStream(c), call);
    }
    if (dweight.data) {
      call.beta = c.accumulate[2] || panel > 0 ? 1.0f : 0.0f;
      call.shape = {.transA = true, .m = columns, .n = width, .k = count};
      call.a = logits;
      call.b = in;
      call.c = {dweight.data, dweight.dtype, width};
      gemm(cudaStream(c), call);
    }
  }
  const int64_t ignoreIndex = c.attributes->integer("ignoreIndex", -100);
  sumRowLosses<1024><<<1, 1024, 0, cudaStream(c)>>>(losses, targets, rows, ignoreIndex, c.accumulate[0],
                                                    c.outputs[0].f64());
  cudaCheckLaunch(operation);
}

void linearCrossEntropy(const KernelContext& c) {
  dispatchActivationType(c.inputs[0].dtype, "linear_cross_entropy",
                         [&](auto tag) { run<typename decltype(tag)::Type>(c); });
}

}  // namespace

void register_linear_cross_entropy_cuda(KernelRegistry& registry) {
  registry.add("linear_cross_entropy", linearCrossEntropy);
}

}  // namespace tesserae
