// The piece Exponentials: logits become e^(z - reference) of their row, and their sums. The loss of a row
// needs no more, and its gradient is a multiple of them.
#pragma once

#include "ops/gemm/gemm.h"
#include "ops/gemm/pieces/tile.cuh"

namespace tesserae {

// Replaces the sums of the tile at (row, column) and stores the sum of each row's 192 columns. Zeros: columns
// from the vocabulary on, the row's target, and rows without one.
__device__ __forceinline__ void exponentiate(TileSums& sums, const GemmExponentials& e, int row, int column,
                                             int m) {
  constexpr float kLog2E = 1.44269504f;
  const int first = column + columnInTile();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int upper = 0; upper < 2; ++upper) {
      const int at = row + rowInTile() + half * 64 + upper * 8;
      const float reference = at < m ? e.references[at] : 0.0f;
      const int target = at < m ? e.targets[at] : -1;
      const int hit = target - first, end = target >= 0 ? e.vocabulary - first : 0;
      float total = 0;
#pragma unroll
      for (int j = 0; j < kTileN / 8; ++j) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& z = sums[half][j * 4 + upper * 2 + i];
          const float power = exponential2(fmaf(z, kLog2E, -reference));
          z = j * 8 + i < end && j * 8 + i != hit ? power : 0.0f;
          total += z;
        }
      }
      total += __shfl_xor_sync(0xffffffffu, total, 1);
      total += __shfl_xor_sync(0xffffffffu, total, 2);
      if (at < m && threadIdx.x % 4 == 0) e.rowSums[static_cast<int64_t>(column / kTileN) * m + at] = total;
    }
  }
}

}  // namespace tesserae
