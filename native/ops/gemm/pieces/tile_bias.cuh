// The piece Bias on a tile: its sums start from the bias, since after the products there are no registers
// left to load many numbers at a time.
#pragma once

#include "ops/gemm/pieces/tile.cuh"

namespace tesserae {

// bias (n) or null, without a branch: wgmma would not stay in flight; `column` is the tile's first. n is a
// multiple of 8.
__device__ __forceinline__ void startFromBias(TileSums& sums, const float* bias, int column, int n) {
  const int first = column + columnInTile();
#pragma unroll
  for (int j = 0; j < kTileN / 8; ++j) {
    const int at = first + j * 8;
    const float2 pair = bias && at < n ? *reinterpret_cast<const float2*>(bias + at) : float2{0, 0};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      sums[half][j * 4] = pair.x;
      sums[half][j * 4 + 1] = pair.y;
      sums[half][j * 4 + 2] = pair.x;
      sums[half][j * 4 + 3] = pair.y;
    }
  }
}

}  // namespace tesserae
