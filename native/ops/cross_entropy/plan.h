// defines: kLossRows, lossBlocks
#pragma once

#include <cstdint>

namespace tesserae {

// Rows whose losses are summed by one task; the sums of the blocks are added in order.
inline constexpr int64_t kLossRows = 32;

__attribute__((always_inline)) static inline int64_t lossBlocks(int64_t rows) {
  return (rows + kLossRows - 1) / kLossRows;
}

}  // namespace tesserae
