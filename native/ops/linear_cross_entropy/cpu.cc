#include "ops/cpu_gemm.h"
#include "ops/cross_entropy/rows.h"
#include "ops/linear_cross_entropy/plan.h"
#include "ops/registry.h"

namespace tesserae::TESSERAE_ISA {

namespace {

// Calls run(row, rows, column, columns) for each tile of a product, each on one thread.
template <class Run>
void forTiles(const GemmTiles& tiles, int64_t rows, int64_t columns, int threads, Run run) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t tile = 0; tile < tiles.rowTiles * tiles.columnTiles; ++tile) {
    const int64_t row = tile / tiles.columnTiles * tiles.rows,
                  column = tile % tiles.columnTiles * tiles.columns;
    run(row, row + tiles.rows < rows ? tiles.rows : rows - row, column,
        column + tiles.columns < columns ? tiles.columns : columns - column);
  }
}

// One row of logits becomes gradient (softmax - (1 - ε) onehot - ε / V), zero where the target does not
// count.
double replaceByGradient(const SmoothedLoss& s, float* z, int64_t target, float gradient) {
  if (target == s.ignoreIndex) {
    for (int64_t j = 0; j < s.columns; ++j) z[j] = 0;
    return 0;
  }
  float lse, denominator;
  const double loss = lossRow<true>(s, z, target, &lse, &denominator);
  const bool valid = target >= 0 && target < s.vocabulary;
  const float scale = valid ? gradient / denominator : 0.0f;
  const float uniform = valid ? gradient * s.smoothing / static_cast<float>(s.vocabulary) : 0.0f;
#pragma omp simd
  for (int64_t j = 0; j < s.vocabulary; ++j) z[j] = z[j] * scale - uniform;
  for (int64_t j = s.vocabulary; j < s.columns; ++j) z[j] = 0;
  if (valid) z[target] -= gradient * (1.0f - s.smoothing);
  return loss;
}

// x (rows, C), W (V→Vp, C) -> loss, dx (rows, C), dW (V→Vp, C)
void linearCrossEntropy(const KernelContext& c) {
  const TensorView &x = c.inputs[0], &weight = c.inputs[1], &dx = c.outputs[1], &dweight = c.outputs[2];
  const int32_t* targets = c.inputs[2].i32();
  const int64_t rows = x.rows, width = x.columns, columns = weight.rows;
  const SmoothedLoss s = smoothedLoss(*c.attributes, weight.factors[0].logical, columns);
  const LinearCrossEntropyPlan plan = planLinearCrossEntropy(rows, columns, width);
  float* logits = static_cast<float*>(c.workspace);                         // (panelRows, columns)
  LossSum* partial = reinterpret_cast<LossSum*>(logits + plan.lossOffset);  // (blocks)
  const bool gradients = dx.data || dweight.data;
  const float gradient = gradients ? c.inputs[3].f32()[0] : 0.0f;
  for (int64_t panel = 0; panel < plan.panels; ++panel) {
    const int64_t first = panel * plan.panelRows;
    const int64_t count = first + plan.panelRows < rows ? plan.panelRows : rows - first;
    const float* in = x.f32() + first * width;
    forTiles(gemmTiles(count, columns), count, columns, c.threads,
             [&](int64_t row, int64_t m, int64_t column, int64_t n) {
               gemm('N', 'T', m, n, width, 1.0f, in + row * width, width, weight.f32() + column * width,
                    width, 0.0f, logits + row * columns + column, columns);
             });
    // Panels are whole loss blocks, since a panel but the last has a multiple of 256 rows.
#pragma omp parallel for schedule(static) num_threads(c.threads)
    for (int64_t block = 0; block < lossBlocks(count); ++block) {
      const int64_t end = (block + 1) * kLossRows < count ? (block + 1) * kLossRows : count;
      double total = 0, valid = 0;
      for (int64_t row = block * kLossRows; row < end; ++row) {
        const int64_t target = targets[first + row];
        float* z = logits + row * columns;
        if (gradients) {
          total += replaceByGradient(s, z, target, gradient);
        } else if (target != s.ignoreIndex) {
          float lse, denominator;
          total += lossRow<false>(s, z, target, &lse, &denominator);
        }
        valid += target != s.ignoreIndex;
      }
      partial[first / kLossRows + block] = {total, valid};
    }
    if (dx.data) {
      float* out = dx.f32() + first * width;
      forTiles(gemmTiles(count, width), count, width, c.threads,
               [&](int64_t row, int64_t m, int64_t column, int64_t n) {
                 gemm('N', 'N', m, n, columns, 1.0f, logits + row * columns, columns, weight.f32() + column,
                      width, 0.0f, out + row * width + column, width);
               });
    }
    if (dweight.data) {
      weightGradient(logits, in, count, columns, width, dweight.f32(), c.accumulate[2] || panel > 0, nullptr,
                     false, logits + plan.gradientOffset, c.threads);
    }
  }
  sumLosses(partial, lossBlocks(rows), c.accumulate[0], c.outputs[0].as<LossSum>());
}

}  // namespace

void register_linear_cross_entropy_cpu(KernelRegistry& registry) {
  registry.add("linear_cross_entropy", linearCrossEntropy);
}

}  // namespace tesserae::TESSERAE_ISA
