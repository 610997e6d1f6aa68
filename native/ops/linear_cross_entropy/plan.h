#pragma once

#include <algorithm>
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

// On Hopper in bf16. Workspace: that of the products, a copy of the weight where it has another type than the
// activations, E (panelRows, columns), the scaled x (panelRows, width), fp32 sums of E's tiles (tiles,
// panelRows) and a scale for each row of a panel; for all rows the reference and whether they count; then the
// losses as doubles.
struct ExponentialsPlan {
  int64_t panelRows, panels;
  int64_t weightOffset, exponentialOffset, scaledXOffset, rowSumOffset, scaleOffset, referenceOffset,
      countingOffset, lossOffset;  // in bytes
  int64_t bytes;
};

// Rows of a panel within half a GiB of E, so that the tiles of dx (256 × 192 for a pair of multiprocessors)
// take the fewest rounds.
inline int64_t exponentialPanelRows(int64_t rows, int64_t columns, int64_t width, int64_t multiprocessors) {
  constexpr int64_t kBytes = int64_t{512} << 20, kTileRows = 256, kTileColumns = kExponentialColumns;
  const auto divideUp = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  const int64_t most = std::max(kBytes / (columns * 2) / kTileRows * kTileRows, kTileRows);
  const int64_t pairs = std::max<int64_t>(multiprocessors / 2, 1), leastPanels = divideUp(rows, most);
  int64_t best = 0, bestRounds = INT64_MAX;
  for (int64_t panels = leastPanels; panels <= 2 * leastPanels; ++panels) {
    const int64_t panelRows = panels == 1 ? rows : divideUp(divideUp(rows, panels), kTileRows) * kTileRows;
    const int64_t tiles = divideUp(panelRows, kTileRows) * divideUp(width, kTileColumns);
    const int64_t rounds = divideUp(rows, panelRows) * divideUp(tiles, pairs);
    if (rounds >= bestRounds) continue;
    best = panelRows;
    bestRounds = rounds;
  }
  return best;
}

inline ExponentialsPlan planExponentials(int64_t rows, int64_t columns, int64_t width, bool copyWeight,
                                         int64_t panelRows) {
  constexpr int64_t kAlign = 256, kFloat = 4, kHalf = 2;
  int64_t end = kGemmWorkspaceBytes;
  const auto take = [&](int64_t bytes) {
    const int64_t begin = end;
    end += (bytes + kAlign - 1) / kAlign * kAlign;
    return begin;
  };
  ExponentialsPlan p;
  p.panelRows = panelRows;
  p.panels = (rows + panelRows - 1) / panelRows;
  p.weightOffset = take(copyWeight ? columns * width * kHalf : 0);
  p.exponentialOffset = take(panelRows * columns * kHalf);
  p.scaledXOffset = take(panelRows * width * kHalf);
  p.rowSumOffset = take((columns + kExponentialColumns - 1) / kExponentialColumns * panelRows * kFloat);
  p.scaleOffset = take(panelRows * kFloat);
  p.referenceOffset = take(rows * kFloat);
  p.countingOffset = take(rows * kFloat);
  p.lossOffset = take(cudaLossBytes(rows));
  p.bytes = end;
  return p;
}

}  // namespace tesserae
