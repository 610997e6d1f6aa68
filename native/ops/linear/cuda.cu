#include <string_view>

#include "ops/activation/functions.cuh"
#include "ops/attributes.h"
#include "ops/cuda_gemm.h"
#include "ops/cuda_support.cuh"
#include "ops/linear/few_rows.h"
#include "ops/linear/plan.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;

// Blocks of a pass over `vectors` vectors of 8 elements, one a thread.
unsigned vectorBlocks(int64_t vectors) { return static_cast<unsigned>(divideUp(vectors, kThreads)); }

__device__ __forceinline__ int64_t vectorIndex() {
  return (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kVector;
}

// y = f(pre); they may be the same memory.
template <class T, ActivationFunction F>
__global__ void __launch_bounds__(kThreads) activate(const T* pre, T* y, int64_t elements) {
  const int64_t i = vectorIndex();
  if (i >= elements) return;
  float v[kVector];
  loadVector(pre + i, v);
#pragma unroll
  for (int j = 0; j < kVector; ++j) v[j] = cudaActivate<F>(v[j]);
  storeVector(y + i, v);
}

// dx = dx ∘ f'(pre)
template <class T, ActivationFunction F>
__global__ void __launch_bounds__(kThreads) scaleBySlope(const T* pre, T* dx, int64_t elements) {
  const int64_t i = vectorIndex();
  if (i >= elements) return;
  float v[kVector], at[kVector];
  loadVector(dx + i, v);
  loadVector(pre + i, at);
#pragma unroll
  for (int j = 0; j < kVector; ++j) v[j] *= cudaActivationSlope<F>(at[j]);
  storeVector(dx + i, v);
}

template <class T>
__global__ void __launch_bounds__(kThreads) convertWeight(const float* from, T* to, int64_t elements) {
  const int64_t i = vectorIndex();
  if (i >= elements) return;
  float v[kVector];
  loadVector(from + i, v);
  storeVector(to + i, v);
}

// Stage 1 of the column sums of dy (rows, columns): a block sums chunkRows rows of 256 columns, in 8 runs of
// rows that are added in order. partial (chunks, columns)
template <class T>
__global__ void __launch_bounds__(kThreads)
    sumChunks(const T* dy, float* partial, int64_t rows, int64_t columns, int64_t chunkRows) {
  __shared__ float shared[8][32 * kVector + 4];
  const int lane = threadIdx.x % 32, run = threadIdx.x / 32;
  const int64_t column = (static_cast<int64_t>(blockIdx.x) * 32 + lane) * kVector;
  const int64_t first = blockIdx.y * chunkRows, end = first + chunkRows < rows ? first + chunkRows : rows;
  float sums[kVector] = {};
  if (column < columns) {
    for (int64_t row = first + run; row < end; row += 8) {
      float v[kVector];
      loadVector(dy + row * columns + column, v);
#pragma unroll
      for (int j = 0; j < kVector; ++j) sums[j] += v[j];
    }
  }
#pragma unroll
  for (int j = 0; j < kVector; ++j) shared[run][lane * kVector + j] = sums[j];
  __syncthreads();
  const int64_t mine = static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x;
  if (mine >= columns) return;
  float sum = 0;
#pragma unroll
  for (int r = 0; r < 8; ++r) sum += shared[r][threadIdx.x];
  partial[blockIdx.y * columns + mine] = sum;
}

// Stage 2: dbias = [dbias +] the sums of the chunks, in 8 runs that are added in order; 32 columns a block.
__global__ void __launch_bounds__(kThreads)
    addChunks(const float* partial, float* dbias, int64_t chunks, int64_t columns, bool accumulate) {
  __shared__ float shared[8][32];
  const int lane = threadIdx.x % 32, run = threadIdx.x / 32;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * 32 + lane;
  float sum = 0;
  if (column < columns) {
    for (int64_t chunk = run; chunk < chunks; chunk += 8) sum += partial[chunk * columns + column];
  }
  shared[run][lane] = sum;
  __syncthreads();
  if (run > 0 || column >= columns) return;
  float total = accumulate ? dbias[column] : 0.0f;
#pragma unroll
  for (int r = 0; r < 8; ++r) total += shared[r][lane];
  dbias[column] = total;
}

GemmMatrix matrixOf(const TensorView& view) { return {view.data, view.dtype, view.columns}; }

// The weight in the type of the activations: itself, or a copy behind the workspace of the product where a
// 16-bit model keeps it in fp32.
GemmMatrix weightAs(const KernelContext& c, const TensorView& weight, DType type, const char* operation) {
  GemmMatrix matrix = matrixOf(weight);
  if (weight.dtype == type) return matrix;
  requireTypes(operation, DType::F32, {&weight});
  matrix.data = static_cast<char*>(c.workspace) + kGemmWorkspaceBytes;
  matrix.dtype = type;
  dispatchActivationType(type, operation, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    convertWeight<<<vectorBlocks(weight.elements / kVector), kThreads, 0, cudaStream(c)>>>(
        weight.f32(), static_cast<T*>(matrix.data), weight.elements);
  });
  cudaCheckLaunch(operation);
  return matrix;
}

GemmCall product(const KernelContext& c, const GemmShape& shape, const GemmMatrix& a, const GemmMatrix& b,
                 const GemmMatrix& result) {
  GemmCall call;
  call.shape = shape;
  call.a = a;
  call.b = b;
  call.c = result;
  call.precision = c.precision;
  call.workspace = c.workspace;
  call.workspaceBytes = kGemmWorkspaceBytes;
  return call;
}

// x (rows, in), W (out, in) -> y, pre (rows, out)
void linear(const KernelContext& c) {
  const TensorView &x = c.inputs[0], &weight = c.inputs[1], &bias = c.inputs[2], &y = c.outputs[0],
                   &pre = c.outputs[1];
  requireVectors("linear", x.columns);
  requireVectors("linear", y.columns);
  if (y.dtype != DType::F32) requireTypes("linear", x.dtype, {&y, &pre});
  const TensorView& sum = pre.data ? pre : y;
  const ActivationFunction function = parseActivation(c.attributes->text("activation"));
  const std::string_view rows = c.attributes->text("rows");
  if (rows == "few" && !pre.data) {
    const GemmMatrix w = weightAs(c, weight, x.dtype, "linear");
    return multiplyFewRows(cudaStream(c), {x.data, w.data, bias.f32(), y.data, x.dtype, y.dtype, x.rows,
                                           x.columns, y.columns, function});
  }
  GemmCall call = product(c, {.transB = true, .m = x.rows, .n = y.columns, .k = x.columns}, matrixOf(x),
                          weightAs(c, weight, x.dtype, "linear"), {sum.data, sum.dtype, y.columns});
  call.bias = bias.f32();
  call.rowsApart = rows == "many";
  if (function == ActivationFunction::GeluNew && !call.rowsApart) {
    GemmCall fused = call;
    fused.fusion = GemmFusion::GeluNew;
    fused.aux = pre.data;
    fused.c.data = y.data;
    if (fusedGemm(cudaStream(c), fused)) return;
  }
  gemm(cudaStream(c), call);
  if (function == ActivationFunction::None && !pre.data) return;
  dispatchActivationType(y.dtype, "linear", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    dispatchActivationFunction(function, [&](auto constant) {
      activate<T, decltype(constant)::value>
          <<<vectorBlocks(y.elements / kVector), kThreads, 0, cudaStream(c)>>>(
              static_cast<const T*>(sum.data), static_cast<T*>(y.data), y.elements);
    });
  });
  cudaCheckLaunch("linear");
}

// dy (rows, out), W (out, in), pre (rows, in) -> dx (rows, in)
void linearInputGradient(const KernelContext& c) {
  const TensorView &dy = c.inputs[0], &weight = c.inputs[1], &pre = c.inputs[2], &dx = c.outputs[0];
  requireVectors("linear_input_gradient", dy.columns);
  requireVectors("linear_input_gradient", dx.columns);
  requireTypes("linear_input_gradient", dy.dtype, {&dx, &pre});
  GemmCall call = product(c, {.m = dy.rows, .n = dx.columns, .k = dy.columns}, matrixOf(dy),
                          weightAs(c, weight, dy.dtype, "linear_input_gradient"), matrixOf(dx));
  const ActivationFunction function =
      pre.data ? parseActivation(c.attributes->text("activation")) : ActivationFunction::None;
  if (function == ActivationFunction::GeluNew) {
    GemmCall fused = call;
    fused.fusion = GemmFusion::GeluNewSlope;
    fused.aux = pre.data;
    if (fusedGemm(cudaStream(c), fused)) return;
  }
  gemm(cudaStream(c), call);
  if (function == ActivationFunction::None) return;
  dispatchActivationType(dx.dtype, "linear_input_gradient", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    dispatchActivationFunction(function, [&](auto constant) {
      scaleBySlope<T, decltype(constant)::value>
          <<<vectorBlocks(dx.elements / kVector), kThreads, 0, cudaStream(c)>>>(
              static_cast<const T*>(pre.data), static_cast<T*>(dx.data), dx.elements);
    });
  });
  cudaCheckLaunch("linear_input_gradient");
}

// dy (rows, out), x (rows, in) -> dW (out, in), dbias (out)
void linearWeightGradient(const KernelContext& c) {
  const TensorView &dy = c.inputs[0], &x = c.inputs[1], &dweight = c.outputs[0], &dbias = c.outputs[1];
  requireVectors("linear_weight_gradient", dy.columns);
  requireVectors("linear_weight_gradient", x.columns);
  requireTypes("linear_weight_gradient", dy.dtype, {&x});
  if (dweight.data) {
    GemmCall call = product(c, {.transA = true, .m = dy.columns, .n = x.columns, .k = dy.rows}, matrixOf(dy),
                            matrixOf(x), matrixOf(dweight));
    call.beta = c.accumulate[0] ? 1.0f : 0.0f;
    gemm(cudaStream(c), call);
  }
  if (!dbias.data) return;
  const ColumnSumPlan plan = planColumnSum(dy.rows, dy.columns);
  float* partial = reinterpret_cast<float*>(static_cast<char*>(c.workspace) + kGemmWorkspaceBytes);
  const dim3 blocks(static_cast<unsigned>(divideUp(dy.columns, 256)), static_cast<unsigned>(plan.chunks));
  dispatchActivationType(dy.dtype, "linear_weight_gradient", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    sumChunks<<<blocks, kThreads, 0, cudaStream(c)>>>(static_cast<const T*>(dy.data), partial, dy.rows,
                                                      dy.columns, plan.chunkRows);
  });
  cudaCheckLaunch("linear_weight_gradient");
  addChunks<<<static_cast<unsigned>(divideUp(dy.columns, 32)), kThreads, 0, cudaStream(c)>>>(
      partial, dbias.f32(), plan.chunks, dy.columns, c.accumulate[1]);
  cudaCheckLaunch("linear_weight_gradient");
}

}  // namespace

void register_linear_cuda(KernelRegistry& registry) {
  registry.add("linear", linear);
  registry.add("linear_input_gradient", linearInputGradient);
  registry.add("linear_weight_gradient", linearWeightGradient);
}

}  // namespace tesserae
