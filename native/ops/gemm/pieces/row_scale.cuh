// The piece RowScale: each row of a tile is multiplied by a number of its own.
#pragma once

#include "ops/gemm/pieces/tile.cuh"

namespace tesserae {

// scale (m); `row` is the tile's first.
__device__ __forceinline__ void scaleRows(TileSums& sums, const float* scale, int row, int m) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int upper = 0; upper < 2; ++upper) {
      const int at = row + rowInTile() + half * 64 + upper * 8;
      const float factor = at < m ? scale[at] : 0.0f;
#pragma unroll
      for (int j = 0; j < kTileN / 8; ++j) {
        sums[half][j * 4 + upper * 2] *= factor;
        sums[half][j * 4 + upper * 2 + 1] *= factor;
      }
    }
  }
}

}  // namespace tesserae
