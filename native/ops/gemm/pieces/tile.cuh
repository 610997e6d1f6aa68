// The fp32 sums of a tile of 128 × 192 as wgmma leaves them in a warpgroup, for the pieces that work on them.
// A thread has rows rowInTile() + 64 half + 8 upper and columns columnInTile() + 8 j (+ 1) in sums[half][4 j
// + 2 upper] (+ 1).
#pragma once

#include "ops/cuda_support.cuh"

namespace tesserae {

inline constexpr int kTileM = 128, kTileN = 192;

using TileSums = float[2][kTileN / 2];

__device__ __forceinline__ int rowInTile() {
  return static_cast<int>(threadIdx.x) / 32 % 4 * 16 + static_cast<int>(threadIdx.x) % 32 / 4;
}

__device__ __forceinline__ int columnInTile() { return static_cast<int>(threadIdx.x) % 4 * 2; }

}  // namespace tesserae
