#include "ops/attributes.h"
#include "ops/convert.cuh"
#include "ops/cuda_support.cuh"
#include "ops/gemm/gemm.h"
#include "ops/linear/few_rows.h"
#include "ops/linear/plan.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;

// Stage 1 of the column sums of a matrix (rows, columns): a block sums chunkRows rows of 256 columns, in 8
// runs of rows that are added in order. partial (chunks, columns)
template <class T>
__global__ void __launch_bounds__(kThreads)
    sumChunks(const T* matrix, float* partial, int64_t rows, int64_t columns, int64_t chunkRows) {
  __shared__ float shared[8][32 * kVector + 4];
  const int lane = threadIdx.x % 32, run = threadIdx.x / 32;
  const int64_t column = (static_cast<int64_t>(blockIdx.x) * 32 + lane) * kVector;
  const int64_t first = blockIdx.y * chunkRows, end = first + chunkRows < rows ? first + chunkRows : rows;
  float sums[kVector] = {};
  if (column < columns) {
    for (int64_t row = first + run; row < end; row += 8) {
      float v[kVector];
      loadVector(matrix + row * columns + column, v);
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

// Stage 2: sums = [sums +] the sums of the chunks, in 8 runs that are added in order; 32 columns a block.
__global__ void __launch_bounds__(kThreads)
    addChunks(const float* partial, float* sums, int64_t chunks, int64_t columns, bool accumulate) {
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
  float total = accumulate ? sums[column] : 0.0f;
#pragma unroll
  for (int r = 0; r < 8; ++r) total += shared[r][lane];
  sums[column] = total;
}

// sums (columns) = [sums +] the column sums of a matrix (rows, columns); partial: those of planColumnSum.
void sumColumns(const KernelContext& c, const char* operation, const void* matrix, DType type, int64_t rows,
                int64_t columns, float* partial, float* sums, bool accumulate) {
  const ColumnSumPlan plan = planColumnSum(rows, columns);
  const dim3 blocks(static_cast<unsigned>(divideUp(columns, 256)), static_cast<unsigned>(plan.chunks));
  dispatchActivationType(type, operation, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    sumChunks<<<blocks, kThreads, 0, cudaStream(c)>>>(static_cast<const T*>(matrix), partial, rows, columns,
                                                      plan.chunkRows);
  });
  cudaCheckLaunch(operation);
  addChunks<<<static_cast<unsigned>(divideUp(columns, 32)), kThreads, 0, cudaStream(c)>>>(
      partial, sums, plan.chunks, columns, accumulate);
  cudaCheckLaunch(operation);
}

// The weight in the type of the activations: itself, or a copy behind the workspace of the product where a
// 16-bit model keeps it in fp32.
const void* weightAs(const KernelContext& c, const TensorView& weight, DType type, const char* operation) {
  if (weight.dtype == type) return weight.data;
  requireTypes(operation, DType::F32, {&weight});
  void* const copy = static_cast<char*>(c.workspace) + kGemmWorkspaceBytes;
  convertToHalf(cudaStream(c), operation, weight.f32(), copy, type, weight.elements);
  return copy;
}

// x (rows, in), W (out, in) -> y, pre (rows, out)
void linear(const KernelContext& c) {
  const TensorView &x = c.inputs[0], &weight = c.inputs[1], &bias = c.inputs[2], &y = c.outputs[0],
                   &pre = c.outputs[1];
  requireVectors("linear", x.columns);
  requireVectors("linear", y.columns);
  if (y.dtype != DType::F32) requireTypes("linear", x.dtype, {&y, &pre});
  gemm(c, c.choice->products[0],
       {.a = x.data,
        .b = weightAs(c, weight, x.dtype, "linear"),
        .c = y.data,
        .bias = bias.f32(),
        .aux = pre.data});
}

// The same where each sequence has one row: its results depend on no other row.
void linearOfFewRows(const KernelContext& c) {
  const TensorView &x = c.inputs[0], &weight = c.inputs[1], &bias = c.inputs[2], &y = c.outputs[0];
  requireVectors("linear", x.columns);
  requireVectors("linear", y.columns);
  if (y.dtype != DType::F32) requireTypes("linear", x.dtype, {&y});
  multiplyFewRows(cudaStream(c),
                  {x.data, weightAs(c, weight, x.dtype, "linear"), bias.f32(), y.data, x.dtype, y.dtype,
                   x.rows, x.columns, y.columns, parseActivation(c.attributes->text("activation"))});
}

// dy (rows, out), W (out, in), pre (rows, in) -> dx (rows, in), columnSums (in)
void linearInputGradient(const KernelContext& c) {
  const TensorView &dy = c.inputs[0], &weight = c.inputs[1], &pre = c.inputs[2], &dx = c.outputs[0],
                   &columnSums = c.outputs[1];
  requireVectors("linear_input_gradient", dy.columns);
  requireVectors("linear_input_gradient", dx.columns);
  requireTypes("linear_input_gradient", dy.dtype, {&dx, &pre});
  // Behind the copy of the weight: sums of 32 rows each (sumRows, in), then those of chunks of them.
  const int64_t sumRows = columnSums.data ? columnSumRows(dx.rows) : 0;
  float* const sums = reinterpret_cast<float*>(static_cast<char*>(c.workspace) + kGemmWorkspaceBytes +
                                               weightCopyBytes(weight.dtype, dy.dtype, weight.elements));
  gemm(c, c.choice->products[0],
       {.a = dy.data,
        .b = weightAs(c, weight, dy.dtype, "linear_input_gradient"),
        .c = dx.data,
        .aux = pre.data,
        .columnSums = columnSums.data ? sums : nullptr});
  if (columnSums.data)
    sumColumns(c, "linear_input_gradient", sums, DType::F32, sumRows, dx.columns, sums + sumRows * dx.columns,
               columnSums.f32(), c.accumulate[1]);
}

// dy (rows, out), x (rows, in) -> dW (out, in), dbias (out)
void linearWeightGradient(const KernelContext& c) {
  const TensorView &dy = c.inputs[0], &x = c.inputs[1], &dweight = c.outputs[0], &dbias = c.outputs[1];
  requireVectors("linear_weight_gradient", dy.columns);
  requireVectors("linear_weight_gradient", x.columns);
  requireTypes("linear_weight_gradient", dy.dtype, {&x});
  if (dweight.data)
    gemm(c, c.choice->products[0],
         {.a = dy.data, .b = x.data, .c = dweight.data, .accumulate = c.accumulate[0]});
  if (dbias.data)
    sumColumns(c, "linear_weight_gradient", dy.data, dy.dtype, dy.rows, dy.columns,
               reinterpret_cast<float*>(static_cast<char*>(c.workspace) + kGemmWorkspaceBytes), dbias.f32(),
               c.accumulate[1]);
}

}  // namespace

void register_linear_cuda(KernelRegistry& registry) {
  registry.add("linear", linear);
  registry.add("linear/few_rows", linearOfFewRows);
  registry.add("linear_input_gradient", linearInputGradient);
  registry.add("linear_weight_gradient", linearWeightGradient);
}

}  // namespace tesserae
