// A row's gradient is dz = g (p - onehot), p = e^(z - t) / S, S = Σ e^(z - t), where t is the target's logit.
// So the product that makes the logits stores E = e^(z - t) and the sums of its tiles; dx = (g / S) E W
// scales its rows at the end, and dW = Eᵀ ((g / S) x). At the target E becomes 1 - S, without the rounding of
// p - 1. What bf16 rounds is E, to the same relative precision as it would round dz, and not z.
#include "ops/linear_cross_entropy/exponentials.h"

#include "ops/convert.cuh"
#include "ops/cross_entropy/rows.cuh"
#include "ops/gemm/gemm.h"
#include "ops/linear_cross_entropy/plan.h"

namespace tesserae {

namespace {

using T = __nv_bfloat16;

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr float kLog2E = 1.44269504f;

// Rows with a larger S, whose target's logit is 66 below another, are computed once more from the maximum: E
// and products with it stay in the range of bf16 and fp32.
constexpr float kMostSum = 7.9228163e28f;  // 2^96

__device__ __forceinline__ int64_t rowOfWarp() {
  return static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
}

// targets, and -1 where a row does not count; references (rows) = the target's logit, times log2 e. A warp a
// row.
__global__ void __launch_bounds__(kThreads)
    findReferences(CudaLoss s, int32_t width, const T* x, const T* weight, const int32_t* targets,
                   int32_t* counting, float* references) {
  const int64_t row = rowOfWarp();
  if (row >= s.rows) return;
  const int lane = threadIdx.x % 32;
  const int32_t target = targets[row];
  const bool valid = s.valid(target);
  float sum = 0;
  if (valid) {
    for (int32_t at = lane * kVector; at < width; at += 32 * kVector) {
      float a[kVector], b[kVector];
      loadVector(x + row * width + at, a);
      loadVector(weight + static_cast<int64_t>(target) * width + at, b);
#pragma unroll
      for (int i = 0; i < kVector; ++i) sum = fmaf(a[i], b[i], sum);
    }
  }
  sum = warpSum(sum);
  if (lane > 0) return;
  counting[row] = valid ? target : -1;
  // +inf would pass for a target that is certain.
  references[row] = sum < INFINITY ? sum * kLog2E : NAN;
}

struct PanelRows {
  const T *x, *weight;      // (rows, width), (V→Vp, width)
  const int32_t* counting;  // (rows)
  const float* references;  // (rows)
  const float* rowSums;     // (tiles, rows)
  int32_t tiles, width;
  T* exponentials;        // (rows, columns)
  float* scale;           // (rows)
  T* scaledX;             // (rows, width)
  const float* gradient;  // null without gradients
};

// The logit of a column, by one lane.
__device__ __forceinline__ float logitOf(const PanelRows& p, int64_t row, int32_t column) {
  float sum = 0;
  for (int32_t at = 0; at < p.width; at += kVector) {
    float a[kVector], b[kVector];
    loadVector(p.x + row * p.width + at, a);
    loadVector(p.weight + static_cast<int64_t>(column) * p.width + at, b);
#pragma unroll
    for (int i = 0; i < kVector; ++i) sum = fmaf(a[i], b[i], sum);
  }
  return sum;
}

// A row's E from its maximum instead, by a warp. Returns its loss; `total` becomes S.
__device__ float recomputeRow(const CudaLoss& s, const PanelRows& p, int64_t row, int32_t target,
                              float* total) {
  const int lane = threadIdx.x % 32;
  float maximum = -FLT_MAX, sum = 0;
  for (int32_t column = lane; column < s.vocabulary; column += 32) {
    const float z = logitOf(p, row, column);
    if (z > maximum) {
      sum *= exponential(maximum - z);
      maximum = z;
    }
    sum += exponential(z - maximum);
  }
  const float most = warpMax(maximum);
  sum = warpSum(sum * exponential(maximum - most));
  *total = sum;
  if (p.gradient) {
    for (int32_t column = lane; column < s.vocabulary; column += 32) {
      const float e = exponential(logitOf(p, row, column) - most);
      p.exponentials[row * s.columns + column] = fromFloat<T>(column == target ? e - sum : e);
    }
  }
  return logf(sum) + most - p.references[row] / kLog2E;
}

// The losses of a panel's rows, and what the products of its gradients read. A warp a row.
__global__ void __launch_bounds__(kThreads)
    finishRows(CudaLoss s, PanelRows p, const int32_t* targets, double* losses) {
  const int64_t row = rowOfWarp();
  if (row >= s.rows) return;
  const int lane = threadIdx.x % 32;
  const int32_t target = p.counting[row];
  float scale = 0;
  if (target >= 0) {
    float others = 0;
    for (int32_t tile = lane; tile < p.tiles; tile += 32) others += p.rowSums[tile * s.rows + row];
    others = warpSum(others);
    float total = 1.0f + others, loss = log1pf(others);
    if (!(total <= kMostSum)) {
      loss = recomputeRow(s, p, row, target, &total);
    } else if (p.gradient && lane == 0) {
      p.exponentials[row * s.columns + target] = fromFloat<T>(-others);
    }
    if (lane == 0) losses[row] = loss;
    if (p.gradient) scale = p.gradient[0] / total;
  } else if (lane == 0 && targets[row] != s.ignoreIndex) {
    losses[row] = NAN;
  }
  if (!p.gradient) return;
  if (lane == 0) p.scale[row] = scale;
  for (int32_t at = lane * kVector; at < p.width; at += 32 * kVector) {
    float v[kVector];
    loadVector(p.x + row * p.width + at, v);
#pragma unroll
    for (int i = 0; i < kVector; ++i) v[i] = target >= 0 ? v[i] * scale : 0.0f;
    storeVector(p.scaledX + row * p.width + at, v);
  }
}

}  // namespace

// x (rows, C), W (V→Vp, C) -> loss, dx (rows, C), dW (V→Vp, C)
void linearCrossEntropyByExponentials(const KernelContext& c) {
  const char* const operation = "linear_cross_entropy";
  const TensorView &x = c.inputs[0], &weight = c.inputs[1], &dx = c.outputs[1], &dweight = c.outputs[2];
  const int32_t* targets = c.inputs[2].i32();
  const int64_t rows = x.rows, width = x.columns, columns = weight.rows;
  requireVectors(operation, width);
  requireVectors(operation, columns);
  requireTypes(operation, x.dtype, {&dx});
  const ExponentialsPlan plan =
      planExponentials(rows, columns, width, weight.dtype != x.dtype, c.choice->products[0].problem.m);
  char* const workspace = static_cast<char*>(c.workspace);
  const auto part = [&](int64_t offset) { return reinterpret_cast<float*>(workspace + offset); };
  const T* w = static_cast<const T*>(weight.data);
  if (weight.dtype != x.dtype) {
    requireTypes(operation, DType::F32, {&weight});
    convertToHalf(cudaStream(c), operation, weight.f32(), workspace + plan.weightOffset, x.dtype,
                  weight.elements);
    w = reinterpret_cast<const T*>(workspace + plan.weightOffset);
  }
  int32_t* const counting = reinterpret_cast<int32_t*>(workspace + plan.countingOffset);
  double* const losses = reinterpret_cast<double*>(workspace + plan.lossOffset);
  const auto launch = [&](int64_t count) { return static_cast<unsigned>(divideUp(count, kWarps)); };
  const CudaLoss all = cudaLoss(*c.attributes, rows, weight.factors[0].logical, columns);
  findReferences<<<launch(rows), kThreads, 0, cudaStream(c)>>>(all, static_cast<int32_t>(width),
                                                               static_cast<const T*>(x.data), w, targets,
                                                               counting, part(plan.referenceOffset));
  cudaCheckLaunch(operation);
  for (int64_t panel = 0; panel < plan.panels; ++panel) {
    const GemmChoice* const products = &c.choice->products[panel + 1 < plan.panels ? 0 : 3];
    const int64_t first = panel * plan.panelRows, count = products[0].problem.m;
    const PanelRows p{static_cast<const T*>(x.data) + first * width,
                      w,
                      counting + first,
                      part(plan.referenceOffset) + first,
                      part(plan.rowSumOffset),
                      static_cast<int32_t>(divideUp(columns, kExponentialColumns)),
                      static_cast<int32_t>(width),
                      reinterpret_cast<T*>(workspace + plan.exponentialOffset),
                      part(plan.scaleOffset),
                      reinterpret_cast<T*>(workspace + plan.scaledXOffset),
                      dx.data || dweight.data ? c.inputs[3].f32() : nullptr};
    gemm(c, products[0],
         {.a = p.x,
          .b = w,
          .c = p.exponentials,
          .exponentials = {p.references, p.counting, part(plan.rowSumOffset), all.vocabulary}});
    CudaLoss s = all;
    s.rows = count;
    finishRows<<<launch(count), kThreads, 0, cudaStream(c)>>>(s, p, targets + first, losses + first);
    cudaCheckLaunch(operation);
    if (dx.data)
      gemm(c, products[1],
           {.a = p.exponentials, .b = w, .c = static_cast<T*>(dx.data) + first * width, .rowScale = p.scale});
    if (dweight.data)
      gemm(c, products[2],
           {.a = p.exponentials,
            .b = p.scaledX,
            .c = dweight.data,
            .accumulate = c.accumulate[2] || panel > 0});
  }
  sumLosses(cudaStream(c), losses, targets, rows, all.ignoreIndex, c.accumulate[0],
            c.outputs[0].as<LossSum>(), operation);
}

}  // namespace tesserae
