// Which tiles the blocks of sm90.cuh compute, and when. Two blocks are a cluster and have the tiles of a
// pair, one above the other. The two warpgroups of a block multiply in turns.
#pragma once

#include "ops/cuda_sm90.cuh"
#include "ops/gemm/pieces/tile.cuh"

namespace tesserae {

inline constexpr int kCluster = 2;

struct TilePlace {
  int row, column;
};

struct TilePairs {
  int rows, columns;  // pairs one above the other, tiles side by side

  __device__ TilePairs(int m, int n)
      : rows((m + kCluster * kTileM - 1) / (kCluster * kTileM)), columns((n + kTileN - 1) / kTileN) {}
  __device__ int count() const { return rows * columns; }
  // Of this block's tile. Rows of pairs are walked in groups that share B in the L2 cache.
  __device__ TilePlace operator[](int pair) const {
    constexpr int kGroup = 8;
    const int group = pair / (kGroup * columns), inside = pair % (kGroup * columns);
    const int height = min(rows - group * kGroup, kGroup);
    const int row = (group * kGroup + inside % height) * kCluster + static_cast<int>(blockOfCluster());
    return {row * kTileM, inside / height * kTileN};
  }
};

// What a warpgroup multiplies: steps of k from the first on, of a pair's tile. Nothing, if there are no
// steps.
struct Turn {
  int pair, slice, first, steps;
};

// The k of all tiles may be cut into slices. Clusters take every n-th of (slices, pairs), so that tiles that
// are computed at the same time read the same rows of operands.
struct Turns {
  int pairs, slices, steps;

  __device__ int clusters() const { return static_cast<int>(gridDim.x) / kCluster; }
  __device__ int first(int warpgroup) const {
    return static_cast<int>(blockIdx.x) / kCluster + warpgroup * clusters();
  }
  // Of both warpgroups; the second one has nothing to do in the last turn if the number is odd.
  __device__ int count() const { return (pairs * slices - first(0) + 2 * clusters() - 1) / (2 * clusters()); }
  template <bool kSliced>
  __device__ Turn at(int warpgroup, int turn) const {
    const int index = first(warpgroup) + turn * 2 * clusters();
    if constexpr (!kSliced) return {index, 0, 0, index < pairs ? steps : 0};
    if (index >= pairs * slices) return {0, 0, 0, 0};
    const int slice = index / pairs, begin = steps / slices * slice + min(slice, steps % slices);
    return {index % pairs, slice, begin, steps / slices + (slice < steps % slices ? 1 : 0)};
  }
};

}  // namespace tesserae
