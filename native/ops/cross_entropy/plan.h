#pragma once

#include <cstdint>

#include "ops/state.h"

namespace tesserae {

// Rows whose losses are summed by one task; the sums of the blocks are added in order.
inline constexpr int64_t kLossRows = 32;

__attribute__((always_inline)) static inline int64_t lossBlocks(int64_t rows) {
  return (rows + kLossRows - 1) / kLossRows;
}

// On a GPU: a double for the loss of each row, then a LossSum for each block that sums them.
inline constexpr int64_t kCudaLossBlocks = 128;

inline int64_t cudaLossBytes(int64_t rows) {
  return rows * static_cast<int64_t>(sizeof(double)) +
         kCudaLossBlocks * static_cast<int64_t>(sizeof(LossSum));
}

}  // namespace tesserae
