// defines: LinearCrossEntropyPlan, planLinearCrossEntropy
#pragma once

#include <cstdint>

#include "ops/cpu_gemm.h"
#include "ops/cross_entropy/plan.h"

namespace tesserae {

// Logits exist for `panelRows` rows at a time. Workspace: logits (panelRows, columns), then the weight
// gradient's partial products, then the blocks' losses as doubles.
struct LinearCrossEntropyPlan {
  int64_t panelRows, panels;
  int64_t gradientOffset, lossOffset;  // in floats
  int64_t bytes;
};

__attribute__((always_inline)) static inline LinearCrossEntropyPlan planLinearCrossEntropy(int64_t rows,
                                                                                           int64_t columns,
                                                                                           int64_t width) {
  // 2 MiB of logits stay in the L2 cache; a large vocabulary needs enough rows to share out and to
  // repay reading the weight: 256 rows of 50,304 columns are 52 MB.
  constexpr int64_t kLogits = int64_t{1} << 19, kLeastRows = 256;
  LinearCrossEntropyPlan p;
  int64_t most = kLogits / columns / kLeastRows * kLeastRows;
  if (most < kLeastRows) most = kLeastRows;
  p.panelRows = rows < most ? rows : most;
  p.panels = (rows + p.panelRows - 1) / p.panelRows;
  p.gradientOffset = p.panelRows * columns;
  int64_t gradient = planWeightGradient(p.panelRows, columns, width).floats;
  const int64_t lastRows = rows - (p.panels - 1) * p.panelRows;
  const int64_t lastGradient = planWeightGradient(lastRows, columns, width).floats;
  if (lastGradient > gradient) gradient = lastGradient;
  p.lossOffset = (p.gradientOffset + gradient + 15) / 16 * 16;
  p.bytes = p.lossOffset * static_cast<int64_t>(sizeof(float)) +
            (lossBlocks(rows) * 2) * static_cast<int64_t>(sizeof(double));
  return p;
}

}  // namespace tesserae
