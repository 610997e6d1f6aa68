#include <cmath>

#include "ops/attributes.h"
#include "ops/registry.h"

namespace tesserae::TESSERAE_ISA {

namespace {

constexpr int64_t kRowBlock =
    64;  // rows whose partial sums are added in one fixed order, whatever the thread count

void layerNorm(const KernelContext& c) {
  const TensorView &x = c.inputs[0], &residual = c.inputs[3];
  const TensorView &y = c.outputs[0], &sum = c.outputs[1], &mean = c.outputs[2], &rstd = c.outputs[3];
  const int64_t rows = x.rows, columns = x.columns, logical = x.logicalColumns;
  const float epsilon = static_cast<float>(c.attributes->number("epsilon"));
  const float* weight = c.inputs[1].f32();
  const float* bias = c.inputs[2].f32();
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t row = 0; row < rows; ++row) {
    const float* in = x.f32() + row * columns;
    if (residual.data) {
      const float* added = residual.f32() + row * columns;
      // Where nobody reads the sum, the row of y holds it until y is written over it.
      float* s = (sum.data ? sum.f32() : y.f32()) + row * columns;
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) s[i] = in[i] + added[i];
      in = s;
    }
    float total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < logical; ++i) total += in[i];
    const float m = total / logical;
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < logical; ++i) squares += (in[i] - m) * (in[i] - m);
    const float r = 1.0f / std::sqrt(squares / logical + epsilon);
    float* out = y.f32() + row * columns;
    // weight and bias are zero in padding lanes, so y is too.
    if (bias) {
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) out[i] = (in[i] - m) * r * weight[i] + bias[i];
    } else {
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) out[i] = (in[i] - m) * r * weight[i];
    }
    if (mean.data) mean.f32()[row] = m;
    if (rstd.data) rstd.f32()[row] = r;
  }
}

// dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) + addend, g = dy * weight; dweight = Σ dy * xhat, dbias =
// Σ dy.
void layerNormBackward(const KernelContext& c) {
  const TensorView &dy = c.inputs[0], &x = c.inputs[1], &addend = c.inputs[5];
  const int64_t rows = x.rows, columns = x.columns, logical = x.logicalColumns;
  const float* weight = c.inputs[2].f32();
  const float* mean = c.inputs[3].f32();
  const float* rstd = c.inputs[4].f32();
  float* dx = c.outputs[0].f32();
  const int64_t blocks = (rows + kRowBlock - 1) / kRowBlock;
  float* partial = static_cast<float*>(c.workspace);  // (blocks, 2, columns): dweight, dbias
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t block = 0; block < blocks; ++block) {
    float* dw = partial + block * 2 * columns;
    float* db = dw + columns;
    for (int64_t i = 0; i < columns; ++i) dw[i] = db[i] = 0;
    const int64_t end = (block + 1) * kRowBlock < rows ? (block + 1) * kRowBlock : rows;
    for (int64_t row = block * kRowBlock; row < end; ++row) {
      const float* g = dy.f32() + row * columns;
      const float* in = x.f32() + row * columns;
      const float m = mean[row], r = rstd[row];
      float sumG = 0, sumGX = 0;
#pragma omp simd reduction(+ : sumG, sumGX)
      for (int64_t i = 0; i < columns; ++i) {  // g * weight is zero in padding lanes
        const float gw = g[i] * weight[i], xhat = (in[i] - m) * r;
        sumG += gw;
        sumGX += gw * xhat;
        dw[i] += g[i] * xhat;
        db[i] += g[i];
      }
      const float meanG = sumG / logical, meanGX = sumGX / logical;
      float* out = dx + row * columns;
      const float* around = addend.data ? addend.f32() + row * columns : nullptr;
#pragma omp simd
      for (int64_t i = 0; i < logical; ++i) {
        const float d = r * (g[i] * weight[i] - meanG - (in[i] - m) * r * meanGX);
        out[i] = around ? d + around[i] : d;
      }
      for (int64_t i = logical; i < columns; ++i) out[i] = 0;
    }
  }
  for (int which = 0; which < 2; ++which) {
    const TensorView& target = c.outputs[1 + which];
    if (!target.data) continue;
    float* out = target.f32();
    if (!c.accumulate[1 + which]) {
      for (int64_t i = 0; i < columns; ++i) out[i] = 0;
    }
    for (int64_t block = 0; block < blocks; ++block) {
      const float* from = partial + (block * 2 + which) * columns;
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) out[i] += from[i];
    }
  }
}

}  // namespace

void register_layer_norm_cpu(KernelRegistry& registry) {
  registry.add("layer_norm", layerNorm);
  registry.add("layer_norm_backward", layerNormBackward);
}

}  // namespace tesserae::TESSERAE_ISA
