#pragma once

#include <cstdint>

#include "ops/cpu_gemm.h"
#include "ops/cross_entropy/plan.h"
#include "ops/gemm/problem.h"

namespace tesserae {

// Logits exist for `panelRows` rows at a time. Workspace: logits (panelRows, columns), then the weight
// gradient's partial products, then a LossSum for each block.
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
            lossBlocks(rows) * static_cast<int64_t>(sizeof(LossSum));
  return p;
}

// On a GPU. Workspace: that of the products, a copy of the weight where it has another type than the
// activations, logits (panelRows, columns), then the losses as doubles (cudaLossBytes).
struct CudaLinearCrossEntropyPlan {
  int64_t panelRows, panels;
  int64_t weightOffset, logitsOffset, lossOffset;  // in bytes
  int64_t bytes;
};

inline CudaLinearCrossEntropyPlan planCudaLinearCrossEntropy(int64_t rows, int64_t columns, int64_t width,
                                                             int64_t elementBytes, bool copyWeight) {
  // Panels as high as half a GiB allows: each one reads the weight twice and its gradient once.
  constexpr int64_t kLogitsBytes = int64_t{512} << 20, kRows = 256, kAlign = 256;
  const auto align = [](int64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; };
  int64_t most = kLogitsBytes / (columns * elementBytes) / kRows * kRows;
  if (most < kRows) most = kRows;
  CudaLinearCrossEntropyPlan p;
  p.panels = (rows + most - 1) / most;
  p.panelRows = p.panels == 1 ? rows : ((rows + p.panels - 1) / p.panels + kRows - 1) / kRows * kRows;
  p.panels = (rows + p.panelRows - 1) / p.panelRows;
  p.weightOffset = kGemmWorkspaceBytes;
  p.logitsOffset = p.weightOffset + (copyWeight ? align(columns * width * elementBytes) : 0);
  p.lossOffset = p.logitsOffset + align(p.panelRows * columns * elementBytes);
  p.bytes = p.lossOffset + cudaLossBytes(rows);
  return p;
}

}  // namespace tesserae
