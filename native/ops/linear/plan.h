#pragma once

#include <cstdint>

#include "runtime/dtype.h"

namespace tesserae {

// Of a weight's copy in the type of the activations; none where it has that type.
inline int64_t weightCopyBytes(DType weight, DType activations, int64_t elements) {
  return weight == activations ? 0 : elements * dtypeSize(activations);
}

// Column sums on a GPU: runs of rows are summed apart, then their sums in order. Workspace: floats
// (chunks, columns).
struct ColumnSumPlan {
  int64_t chunkRows, chunks;
  int64_t floats;
};

inline ColumnSumPlan planColumnSum(int64_t rows, int64_t columns) {
  constexpr int64_t kBlockColumns = 256, kBlocks = 512, kLeastRows = 64;
  const int64_t columnBlocks = (columns + kBlockColumns - 1) / kBlockColumns;
  int64_t wanted = (kBlocks + columnBlocks - 1) / columnBlocks;
  const int64_t most = (rows + kLeastRows - 1) / kLeastRows;
  if (wanted > most) wanted = most;
  if (wanted < 1) wanted = 1;
  ColumnSumPlan p;
  p.chunkRows = (rows + wanted - 1) / wanted;
  if (p.chunkRows < 1) p.chunkRows = 1;
  p.chunks = (rows + p.chunkRows - 1) / p.chunkRows;
  p.floats = p.chunks * columns;
  return p;
}

}  // namespace tesserae
