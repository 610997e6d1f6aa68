// The piece ColumnSums: the sums of a tile's columns, over 32 rows at a time. Every store has one writer, so
// the result is the same each time.
#pragma once

#include "ops/gemm/pieces/tile.cuh"

namespace tesserae {

// Of 2 kCount sums, a lane keeps the upper half if its bit `mask` is set, otherwise the lower one.
template <int kCount>
__device__ __forceinline__ void addOtherLanes(float (&c)[8], int lane, int mask) {
  const bool upper = lane & mask;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const float kept = upper ? c[kCount + i] : c[i], sent = upper ? c[i] : c[kCount + i];
    c[i] = kept + __shfl_xor_sync(0xffffffffu, sent, mask);
  }
}

// Of the 64 columns of `part` in the tile at (row, column), below n. columnSums (32-row groups, n): the four
// warps write rows row / 32 to row / 32 + 3. Rows beyond the matrix must hold zeros. n is a multiple of 8.
__device__ __forceinline__ void storeColumnSums(const TileSums& sums, float* columnSums, int row, int column,
                                                int part, int n) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32 % 4;
  float* const to = columnSums + static_cast<int64_t>(row / 32 + warp) * n;
#pragma unroll
  for (int run = 2 * part; run < 2 * part + 2; ++run) {
    float c[8];  // column 32 run + 8 (i / 2) + columnInTile() + i % 2
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int at = run * 16 + i / 2 * 4 + i % 2;
      c[i] = (sums[0][at] + sums[0][at + 2]) + (sums[1][at] + sums[1][at + 2]);
    }
    // The eight lanes of a column share the work: each keeps half of what it has, three times.
    addOtherLanes<4>(c, lane, 16);
    addOtherLanes<2>(c, lane, 8);
    addOtherLanes<1>(c, lane, 4);
    const int kept = (lane & 16 ? 4 : 0) + (lane & 8 ? 2 : 0) + (lane & 4 ? 1 : 0);
    const int at = column + run * 32 + kept / 2 * 8 + columnInTile() + kept % 2;
    if (at < n) to[at] = c[0];
  }
}

}  // namespace tesserae
