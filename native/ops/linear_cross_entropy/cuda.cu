#include "ops/cross_entropy/rows.cuh"
#include "ops/cuda_gemm.h"
#include "ops/linear_cross_entropy/plan.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

// Rows of logits (rows, V→Vp) become seed (softmax - (1 - ε) onehot - ε / V) in place, zero where the target
// does not count; without seeds they stay. losses (rows). Where a row fits, it waits in shared memory for its
// statistics, and is read and written once.
template <class T, int kRow>
__global__ void __launch_bounds__(kRowThreads<kRow>)
    replaceByGradient(CudaLoss s, bool stashed, T* logits, const int32_t* targets, const float* seeds,
                      double* losses) {
  __shared__ float shared[kLossThreads / 32];
  extern __shared__ __align__(16) char stash[];
  const int64_t row = rowOfThread<kRow>();
  if (row >= s.rows) return;
  const int32_t target = targets[row];
  T* z = logits + row * s.columns;
  T* copy = stashed ? reinterpret_cast<T*>(stash) : nullptr;
  const RowStatistics r = rowStatistics<kRow>(s, z, target, copy, shared);
  storeLoss<kRow>(s, r, target, losses + row);
  if (!seeds) return;
  storeRowGradient<kRow>(s, copy ? copy : z, z, r.maximum, seeds[0] / r.sum, seeds[0], target);
}

// Two blocks with a row each share the 227 KB of a multiprocessor of Hopper, 163 KB of an A100; less than
// 48 KB needs no leave of the driver.
template <class T, int kRow>
void launchReplaceByGradient(const CudaLoss& s, T* logits, const int32_t* targets, const float* seeds,
                             double* losses, cudaStream_t stream) {
  constexpr int64_t kMostBytes = 112 << 10;
  const auto kernel = replaceByGradient<T, kRow>;
  const int64_t rowBytes = s.columns * static_cast<int64_t>(sizeof(T));
  int bytes = kRow > 32 && seeds && rowBytes <= kMostBytes ? static_cast<int>(rowBytes) : 0;
  if (bytes > 0 &&
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes) != cudaSuccess) {
    cudaGetLastError();  // a GPU with less: the row is read twice
    bytes = 0;
  }
  kernel<<<rowBlocks<kRow>(s.rows), kRowThreads<kRow>, bytes, stream>>>(s, bytes > 0, logits, targets, seeds,
                                                                        losses);
  cudaCheckLaunch("linear_cross_entropy");
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
      launchReplaceByGradient<T, kRow>(s, z, targets + first, seeds, losses + first, cudaStream(c));
    });
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
  sumLosses(cudaStream(c), losses, targets, rows, ignoreIndex, c.accumulate[0], c.outputs[0].as<LossSum>(),
            operation);
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
