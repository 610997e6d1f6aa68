#include "ops/convert.cuh"
#include "ops/cross_entropy/rows.cuh"
#include "ops/gemm/gemm.h"
#include "ops/linear_cross_entropy/exponentials.h"
#include "ops/linear_cross_entropy/plan.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

// Rows of logits (rows, V→Vp) become gradient (softmax - (1 - ε) onehot - ε / V) in place, zero where the
// target does not count; without a gradient they stay. losses (rows). Where a row fits, it waits in shared
// memory for its statistics, and is read and written once.
template <class T, int kRow>
__global__ void __launch_bounds__(kRowThreads<kRow>)
    replaceByGradient(CudaLoss s, bool stashed, T* logits, const int32_t* targets, const float* gradient,
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
  if (!gradient) return;
  storeRowGradient<kRow>(s, copy ? copy : z, z, r.maximum, gradient[0] / r.sum, gradient[0], target);
}

// Two blocks with a row each share the 227 KB of a multiprocessor of Hopper, 163 KB of an A100; less than
// 48 KB needs no leave of the driver.
template <class T, int kRow>
void launchReplaceByGradient(const CudaLoss& s, T* logits, const int32_t* targets, const float* gradient,
                             double* losses, cudaStream_t stream) {
  constexpr int64_t kMostBytes = 112 << 10;
  const auto kernel = replaceByGradient<T, kRow>;
  const int64_t rowBytes = s.columns * static_cast<int64_t>(sizeof(T));
  int bytes = kRow > 32 && gradient && rowBytes <= kMostBytes ? static_cast<int>(rowBytes) : 0;
  if (bytes > 0 &&
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes) != cudaSuccess) {
    cudaGetLastError();  // a GPU with less: the row is read twice
    bytes = 0;
  }
  kernel<<<rowBlocks<kRow>(s.rows), kRowThreads<kRow>, bytes, stream>>>(s, bytes > 0, logits, targets,
                                                                        gradient, losses);
  cudaCheckLaunch("linear_cross_entropy");
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
  const float* gradient = dx.data || dweight.data ? c.inputs[3].f32() : nullptr;
  const void* w = weight.data;
  if (weight.dtype != x.dtype) {
    requireTypes(operation, DType::F32, {&weight});
    w = workspace + plan.weightOffset;
    convertToHalf(cudaStream(c), operation, weight.f32(), workspace + plan.weightOffset, x.dtype,
                  weight.elements);
  }
  T* const z = reinterpret_cast<T*>(workspace + plan.logitsOffset);
  for (int64_t panel = 0; panel < plan.panels; ++panel) {
    const GemmChoice* const products = &c.choice->products[panel + 1 < plan.panels ? 0 : 3];
    const int64_t first = panel * plan.panelRows, count = products[0].problem.m;
    const T* const in = static_cast<const T*>(x.data) + first * width;
    gemm(c, products[0], {.a = in, .b = w, .c = z});
    const CudaLoss s = cudaLoss(*c.attributes, count, weight.factors[0].logical, columns);
    dispatchRowThreads(columns, [&](auto constant) {
      constexpr int kRow = decltype(constant)::value;
      launchReplaceByGradient<T, kRow>(s, z, targets + first, gradient, losses + first, cudaStream(c));
    });
    if (dx.data) gemm(c, products[1], {.a = z, .b = w, .c = static_cast<T*>(dx.data) + first * width});
    if (dweight.data)
      gemm(c, products[2], {.a = z, .b = in, .c = dweight.data, .accumulate = c.accumulate[2] || panel > 0});
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
  registry.add("linear_cross_entropy/exponentials", linearCrossEntropyByExponentials);
}

}  // namespace tesserae
