// Products in fp32 multiply-adds: the reference, and what is left where rows are not aligned.
#include "ops/gemm/tiles.cuh"

namespace tesserae {

namespace {

// Any types, strides and alignments, in fp32 multiply-adds: 128 × 128 of C in a block, 8 × 8 a thread.
template <class T, class Out, bool kTransA, bool kTransB>
__global__ void __launch_bounds__(kGemmThreads, 2) plainGemm(GemmArguments g) {
  constexpr int kDepth = 8;
  __shared__ __align__(16) float tileA[kDepth][kGemmTile + 4], tileB[kDepth][kGemmTile + 4];
  const T *a = static_cast<const T*>(g.a), *b = static_cast<const T*>(g.b);
  int64_t row, column;
  tileOf(g.m, g.n, &row, &column);
  const int threadRow = threadIdx.x / 16 * 4, threadColumn = threadIdx.x % 16 * 4;
  float sums[8][8] = {};
  for (int64_t k0 = 0; k0 < g.k; k0 += kDepth) {
#pragma unroll
    for (int i = 0; i < kGemmTile * kDepth / kGemmThreads; ++i) {
      const int index = threadIdx.x + i * kGemmThreads;
      {  // neighbouring threads read along the contiguous extent
        const int r = kTransA ? index % kGemmTile : index / kDepth,
                  k = kTransA ? index / kGemmTile : index % kDepth;
        const bool inside = row + r < g.m && k0 + k < g.k;
        const int64_t at = kTransA ? (k0 + k) * g.lda + row + r : (row + r) * g.lda + k0 + k;
        tileA[k][r] = inside ? toFloat(a[at]) : 0.0f;
      }
      {
        const int c = kTransB ? index / kDepth : index % kGemmTile,
                  k = kTransB ? index % kDepth : index / kGemmTile;
        const bool inside = column + c < g.n && k0 + k < g.k;
        const int64_t at = kTransB ? (column + c) * g.ldb + k0 + k : (k0 + k) * g.ldb + column + c;
        tileB[k][c] = inside ? toFloat(b[at]) : 0.0f;
      }
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      float x[8], y[8];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        *reinterpret_cast<float4*>(x + 4 * half) =
            *reinterpret_cast<const float4*>(&tileA[k][threadRow + 64 * half]);
        *reinterpret_cast<float4*>(y + 4 * half) =
            *reinterpret_cast<const float4*>(&tileB[k][threadColumn + 64 * half]);
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) {
#pragma unroll
        for (int j = 0; j < 8; ++j) sums[i][j] = fmaf(x[i], y[j], sums[i][j]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      storeSum<Out>(g, row + threadRow + i % 4 + i / 4 * 64, column + threadColumn + j % 4 + j / 4 * 64,
                    sums[i][j]);
    }
  }
}

}  // namespace

void launchPlainGemm(cudaStream_t stream, DType type, DType result, bool transA, bool transB,
                     const GemmArguments& g) {
  dispatchGemm(type, result, transA, transB, [&](auto tag, auto out, auto a, auto b) {
    using T = typename decltype(tag)::Type;
    using Out = typename decltype(out)::Type;
    plainGemm<T, Out, decltype(a)::value, decltype(b)::value><<<gemmBlocks(g), kGemmThreads, 0, stream>>>(g);
    cudaCheckLaunch("gemm");
  });
}

}  // namespace tesserae
