// 16-bit products on tensor cores by mma.sync and cp.async, for A100 and later.
#include "ops/cuda_mma.cuh"
#include "ops/gemm/tiles.cuh"

namespace tesserae {

namespace {

constexpr int kTileK = 32, kStages = 3;

// Strides in shared memory: an odd number of 16-byte words, so that ldmatrix finds its eight rows in
// different banks. A tile is (128, 32) where k is contiguous in memory, (32, 128) where it is not.
template <bool kContiguous>
constexpr int kTileStride = kContiguous ? kTileK + 8 : kGemmTile + 8;
template <bool kContiguous>
constexpr int kTileElements = (kContiguous ? kGemmTile : kTileK) * kTileStride<kContiguous>;

// Rows and columns beyond the matrix become zeros. Contiguous extents are multiples of 8.
template <bool kContiguous, class T>
__device__ __forceinline__ void loadTile(T* tile, const T* matrix, int64_t stride, int64_t first,
                                         int64_t extent, int64_t k0, int64_t k) {
  constexpr int kChunks = (kContiguous ? kTileK : kGemmTile) / 8;  // of 8 elements in a stored row
#pragma unroll
  for (int i = 0; i < kGemmTile * kTileK / 8 / kGemmThreads; ++i) {
    const int chunk = threadIdx.x + i * kGemmThreads, row = chunk / kChunks, column = chunk % kChunks * 8;
    const int64_t outer = (kContiguous ? first : k0) + row, inner = (kContiguous ? k0 : first) + column;
    const bool inside = outer < (kContiguous ? extent : k) && inner < (kContiguous ? k : extent);
    copyAsync16(tile + row * kTileStride<kContiguous> + column,
                inside ? matrix + outer * stride + inner : matrix, inside);
  }
}

// 128 × 128 of C in a block of 2 × 4 warps, 64 × 32 each.
template <class T, class Out, bool kTransA, bool kTransB>
__global__ void __launch_bounds__(kGemmThreads, 2) tensorCoreGemm(GemmArguments g) {
  constexpr int kElementsA = kTileElements<!kTransA>, kElementsB = kTileElements<kTransB>;
  constexpr int kStrideA = kTileStride<!kTransA>, kStrideB = kTileStride<kTransB>;
  extern __shared__ __align__(16) char shared[];
  T* tiles = reinterpret_cast<T*>(shared);
  const T *a = static_cast<const T*>(g.a), *b = static_cast<const T*>(g.b);
  int64_t row, column;
  tileOf(g.m, g.n, &row, &column);
  const int warp = threadIdx.x / 32, warpRow = warp / 4 * 64, warpColumn = warp % 4 * 32;
  float sums[4][4][4] = {};
  const int64_t steps = divideUp(g.k, kTileK);
  const auto load = [&](int64_t step) {
    T* stage = tiles + step % kStages * (kElementsA + kElementsB);
    loadTile<!kTransA>(stage, a, g.lda, row, g.m, step * kTileK, g.k);
    loadTile<kTransB>(stage + kElementsA, b, g.ldb, column, g.n, step * kTileK, g.k);
  };
  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) load(step);
    commitCopies();
  }
  for (int64_t step = 0; step < steps; ++step) {
    waitCopies<kStages - 2>();
    __syncthreads();  // the stage is there for all, and all are done with the one that is filled now
    if (step + kStages - 1 < steps) load(step + kStages - 1);
    commitCopies();
    const T* tileA = tiles + step % kStages * (kElementsA + kElementsB);
    const T* tileB = tileA + kElementsA;
#pragma unroll
    for (int k = 0; k < kTileK; k += 16) {
      uint32_t fragmentA[4][4], fragmentB[2][4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if constexpr (kTransA) {
          loadFragmentAColumns(fragmentA[i], tileA, kStrideA, warpRow + i * 16, k);
        } else {
          loadFragmentA(fragmentA[i], tileA, kStrideA, warpRow + i * 16, k);
        }
      }
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        if constexpr (kTransB) {
          loadFragmentsB(fragmentB[j], tileB, kStrideB, warpColumn + j * 16, k);
        } else {
          loadFragmentsBRows(fragmentB[j], tileB, kStrideB, warpColumn + j * 16, k);
        }
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          multiplyAccumulate<T>(sums[i][j], fragmentA[i], fragmentB[j / 2][j % 2 * 2],
                                fragmentB[j / 2][j % 2 * 2 + 1]);
        }
      }
    }
  }
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        storeSum<Out>(g, row + warpRow + i * 16 + lane / 4 + e / 2 * 8,
                      column + warpColumn + j * 8 + lane % 4 * 2 + e % 2, sums[i][j][e]);
      }
    }
  }
}

template <class T, class Out, bool kTransA, bool kTransB>
void launch(cudaStream_t stream, const GemmArguments& g) {
  constexpr int kBytes = kStages * (kTileElements<!kTransA> + kTileElements<kTransB>)*2;
  const auto kernel = tensorCoreGemm<T, Out, kTransA, kTransB>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  kernel<<<gemmBlocks(g), kGemmThreads, kBytes, stream>>>(g);
  cudaCheckLaunch("gemm");
}

}  // namespace

void launchSm80Gemm(cudaStream_t stream, DType type, DType result, bool transA, bool transB,
                    const GemmArguments& g) {
  dispatchGemm(type, result, transA, transB, [&](auto tag, auto out, auto a, auto b) {
    using T = typename decltype(tag)::Type;
    if constexpr (!std::is_same_v<T, float>) {
      launch<T, typename decltype(out)::Type, decltype(a)::value, decltype(b)::value>(stream, g);
    }
  });
}

}  // namespace tesserae
