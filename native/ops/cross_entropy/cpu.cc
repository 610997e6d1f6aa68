#include "ops/cross_entropy/rows.h"
#include "ops/registry.h"

namespace tesserae::TESSERAE_ISA {

namespace {

void crossEntropy(const KernelContext& c) {
  const TensorView& logits = c.inputs[0];
  const int32_t* targets = c.inputs[1].i32();
  float* lse = c.outputs[1].f32();
  const int64_t rows = logits.rows, blocks = lossBlocks(rows);
  const SmoothedLoss s = smoothedLoss(*c.attributes, logits.logicalColumns, logits.columns);
  LossSum* partial = static_cast<LossSum*>(c.workspace);  // (blocks)
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t end = (block + 1) * kLossRows < rows ? (block + 1) * kLossRows : rows;
    double total = 0, valid = 0;
    for (int64_t row = block * kLossRows; row < end; ++row) {
      const bool counts = targets[row] != s.ignoreIndex;
      if (!counts && !lse) continue;
      float rowLse, denominator;
      const double loss =
          lossRow<false>(s, logits.f32() + row * s.columns, targets[row], &rowLse, &denominator);
      if (lse) lse[row] = rowLse;
      if (!counts) continue;
      total += loss;
      valid += 1;
    }
    partial[block] = {total, valid};
  }
  sumLosses(partial, blocks, c.accumulate[0], c.outputs[0].as<LossSum>());
}

void crossEntropyBackward(const KernelContext& c) {
  const TensorView& logits = c.inputs[0];
  const int32_t* targets = c.inputs[1].i32();
  const float* lse = c.inputs[2].f32();
  const float gradient = c.inputs[3].f32()[0];
  const int64_t rows = logits.rows;
  const SmoothedLoss s = smoothedLoss(*c.attributes, logits.logicalColumns, logits.columns);
  const float uniform = gradient * s.smoothing / static_cast<float>(s.vocabulary);
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t row = 0; row < rows; ++row) {
    const float* z = logits.f32() + row * s.columns;
    float* dz = c.outputs[0].f32() + row * s.columns;
    const int64_t target = targets[row];
    if (target < 0 || target >= s.vocabulary || target == s.ignoreIndex) {
      for (int64_t j = 0; j < s.columns; ++j) dz[j] = 0;
      continue;
    }
    const float denominator = lse[row];
#pragma omp simd
    for (int64_t j = 0; j < s.vocabulary; ++j) dz[j] = gradient * vectorExp(z[j] - denominator) - uniform;
    for (int64_t j = s.vocabulary; j < s.columns; ++j) dz[j] = 0;
    dz[target] -= gradient * (1.0f - s.smoothing);
  }
}

}  // namespace

void register_cross_entropy_cpu(KernelRegistry& registry) {
  registry.add("cross_entropy", crossEntropy);
  registry.add("cross_entropy_backward", crossEntropyBackward);
}

}  // namespace tesserae::TESSERAE_ISA
