// How a warp brings its part of a tile from registers to memory: through shared memory, by TMA.
#pragma once

#include "ops/cuda_sm90.cuh"
#include "ops/gemm/pieces/tile.cuh"

namespace tesserae {

// A warp has 2 × 16 rows of a tile, 64 rows apart. It stores them in parts of 128 bytes a row: 16 rows, as
// TMA swizzles them, twice.
inline constexpr int kSliceRows = 16, kSliceBytes = kSliceRows * 128, kPartBytes = 2 * kSliceBytes;
inline constexpr int kBuffers = 2;  // parts of a warp that are on their way at a time

// Parts use the buffers in shared memory in turns.
struct WarpPlace {
  char (*buffers)[kPartBytes];
  int row, column;  // of the warp's first row in C, and of the tile
  int n;
  int next = 0;  // buffer

  __device__ __forceinline__ char* buffer() const { return buffers[next]; }
  __device__ __forceinline__ void turn() { next = next + 1 == kBuffers ? 0 : next + 1; }
};

// A tile in 16 bits, in parts of 64 columns.
template <class T>
struct WarpStore : WarpPlace {
  // Where this lane's row of the 16 × 16 block at column 16 j of a part is in a slice: the address that
  // ldmatrix and stmatrix want of it.
  __device__ __forceinline__ static int blockOffset(int j) {
    const int lane = threadIdx.x % 32, matrix = lane / 8;
    return (lane % 8 + matrix % 2 * 8) * 128 + ((2 * j + matrix / 2) ^ lane % 8) * 16;
  }

  // Stores one part. `piece` changes its sums first: 8 at a time, which a thread has of a block. kAux: the
  // buffer holds that part of aux, whose block goes to `piece` too.
  template <bool kAux, class Piece>
  __device__ __forceinline__ void part(const CUtensorMap& map, TileSums& sums, int part, Piece&& piece) {
    if constexpr (!kAux) {
      if (threadIdx.x % 32 == 0) waitStoresRead<kBuffers - 1>();
      __syncwarp();
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      char* const slice = buffer() + half * kSliceBytes;
      uint32_t blocks[4][4] = {};  // aux, then C
      if constexpr (kAux) {
        // All loads first: each would wait for the store before it.
#pragma unroll
        for (int j = 0; j < 4; ++j) loadMatrix4(blocks[j], slice + blockOffset(j));
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        float* const s = &sums[half][part * 32 + j * 8];
        piece(s, blocks[j]);
#pragma unroll
        for (int i = 0; i < 4; ++i) blocks[j][i] = packPair<T>(s[2 * i], s[2 * i + 1]);
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) storeMatrix4(slice + blockOffset(j), blocks[j]);
    }
    fenceShared();
    __syncwarp();
    if (threadIdx.x % 32 == 0) {
      if (column + part * 64 < n) {
        storeBox(map, column + part * 64, row, buffer());
        storeBox(map, column + part * 64, row + 64, buffer() + kSliceBytes);
      }
      commitStores();
    }
    turn();
  }
};

// A tile in fp32, in parts of 32 columns, to a C that it is stored in or added to.
struct WarpSums : WarpPlace {
  __device__ __forceinline__ void part(const CUtensorMap& map, const TileSums& sums, int part, bool add) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    if (lane == 0) waitStoresRead<kBuffers - 1>();
    __syncwarp();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int upper = 0; upper < 2; ++upper) {
        char* const to = buffer() + half * kSliceBytes + (lane / 4 + upper * 8) * 128 + lane % 2 * 8;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const float* const s = &sums[half][part * 16 + j * 4 + upper * 2];
          *reinterpret_cast<float2*>(to + ((2 * j + lane % 4 / 2) ^ lane / 4) * 16) = {s[0], s[1]};
        }
      }
    }
    fenceShared();
    __syncwarp();
    if (lane == 0) {
      if (column + part * 32 < n) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const char* const slice = buffer() + half * kSliceBytes;
          if (add) {
            addBox(map, column + part * 32, row + half * 64, slice);
          } else {
            storeBox(map, column + part * 32, row + half * 64, slice);
          }
        }
      }
      commitStores();
    }
    turn();
  }
};

}  // namespace tesserae
