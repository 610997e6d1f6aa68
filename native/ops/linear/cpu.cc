#include "ops/activation/dispatch.h"
#include "ops/attributes.h"
#include "ops/cpu_gemm.h"
#include "ops/registry.h"
#include "ops/vector_math.h"

namespace tesserae::TESSERAE_ISA {

namespace {

// The epilogue of a tile of linear, while it is in cache: pre += bias, y = f(pre). pre may be null, then y
// holds it.
template <ActivationFunction F>
void activateTile(float* y, float* pre, const float* bias, int64_t rows, int64_t columns, int64_t stride) {
  if (F == ActivationFunction::None && !bias && !pre) return;
  for (int64_t row = 0; row < rows; ++row) {
    float* out = y + row * stride;
    if (pre) {
      float* in = pre + row * stride;
      if (bias) {
#pragma omp simd
        for (int64_t i = 0; i < columns; ++i) {
          const float v = in[i] + bias[i];
          in[i] = v;
          out[i] = activate<F>(v);
        }
      } else {
#pragma omp simd
        for (int64_t i = 0; i < columns; ++i) out[i] = activate<F>(in[i]);
      }
    } else if (bias) {
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) out[i] = activate<F>(out[i] + bias[i]);
    } else {
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) out[i] = activate<F>(out[i]);
    }
  }
}

// x (rows, in), W (out, in) -> y (rows, out)
template <ActivationFunction F>
void forward(const KernelContext& c) {
  const TensorView &x = c.inputs[0], &y = c.outputs[0];
  const float *weight = c.inputs[1].f32(), *bias = c.inputs[2].f32();
  float* pre = c.outputs[1].f32();
  const int64_t rows = x.rows, in = x.columns, out = y.columns;
  const GemmTiles tiles = gemmTiles(rows, out);
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t tile = 0; tile < tiles.rowTiles * tiles.columnTiles; ++tile) {
    const int64_t row = tile / tiles.columnTiles * tiles.rows,
                  column = tile % tiles.columnTiles * tiles.columns;
    const int64_t m = row + tiles.rows < rows ? tiles.rows : rows - row;
    const int64_t n = column + tiles.columns < out ? tiles.columns : out - column;
    float* yTile = y.f32() + row * out + column;
    float* preTile = pre ? pre + row * out + column : nullptr;
    gemm('N', 'T', m, n, in, 1.0f, x.f32() + row * in, in, weight + column * in, in, 0.0f,
         pre ? preTile : yTile, out);
    activateTile<F>(yTile, preTile, bias ? bias + column : nullptr, m, n, out);
  }
}

// dy (rows, out), W (out, in), pre (rows, in) -> dx (rows, in)
template <ActivationFunction F>
void inputGradient(const KernelContext& c) {
  const TensorView &dy = c.inputs[0], &dx = c.outputs[0];
  const float *weight = c.inputs[1].f32(), *pre = c.inputs[2].f32();
  const int64_t rows = dy.rows, out = dy.columns, in = dx.columns;
  const GemmTiles tiles = gemmTiles(rows, in);
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t tile = 0; tile < tiles.rowTiles * tiles.columnTiles; ++tile) {
    const int64_t row = tile / tiles.columnTiles * tiles.rows,
                  column = tile % tiles.columnTiles * tiles.columns;
    const int64_t m = row + tiles.rows < rows ? tiles.rows : rows - row;
    const int64_t n = column + tiles.columns < in ? tiles.columns : in - column;
    float* to = dx.f32() + row * in + column;
    gemm('N', 'N', m, n, out, 1.0f, dy.f32() + row * out, out, weight + column, in, 0.0f, to, in);
    if (F == ActivationFunction::None) continue;
    const float* at = pre + row * in + column;
    for (int64_t r = 0; r < m; ++r) {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) to[r * in + i] *= activationSlope<F>(at[r * in + i]);
    }
  }
}

void linear(const KernelContext& c) {
  dispatchActivationFunction(parseActivation(c.attributes->text("activation")),
                             [&](auto function) { forward<decltype(function)::value>(c); });
}

void linearInputGradient(const KernelContext& c) {
  const bool activated = c.inputs[2].data != nullptr;
  dispatchActivationFunction(
      activated ? parseActivation(c.attributes->text("activation")) : ActivationFunction::None,
      [&](auto function) { inputGradient<decltype(function)::value>(c); });
}

void linearWeightGradient(const KernelContext& c) {
  const TensorView &dy = c.inputs[0], &x = c.inputs[1];
  weightGradient(dy.f32(), x.f32(), dy.rows, dy.columns, x.columns, c.outputs[0].f32(), c.accumulate[0],
                 c.outputs[1].f32(), c.accumulate[1], static_cast<float*>(c.workspace), c.threads);
}

}  // namespace

void register_linear_cpu(KernelRegistry& registry) {
  registry.add("linear", linear);
  registry.add("linear_input_gradient", linearInputGradient);
  registry.add("linear_weight_gradient", linearWeightGradient);
}

}  // namespace tesserae::TESSERAE_ISA
