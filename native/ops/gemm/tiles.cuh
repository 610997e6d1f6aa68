// What the GEMM kernels of our own share: arguments, the order of tiles, and the store of a sum.
#pragma once

#include "ops/cuda_support.cuh"
#include "ops/gemm/pieces/bias.cuh"

namespace tesserae {

struct GemmArguments {
  const void *a, *b;
  void* c;
  int64_t m, n, k, lda, ldb, ldc;
  bool accumulate;    // adds to what C holds
  const float* bias;  // (n) or null
};

inline constexpr int kGemmTile = 128, kGemmThreads = 256;
inline constexpr int kGemmGroup =
    8;  // tile rows that are walked together, so that they share B in the L2 cache

inline unsigned gemmBlocks(const GemmArguments& g) {
  return static_cast<unsigned>(divideUp(g.m, kGemmTile) * divideUp(g.n, kGemmTile));
}

// The place of a block's tile: columns inside groups of kGemmGroup tile rows.
__device__ __forceinline__ void tileOf(int64_t m, int64_t n, int64_t* row, int64_t* column) {
  const int64_t rowTiles = divideUp(m, kGemmTile), columnTiles = divideUp(n, kGemmTile);
  const int64_t group = blockIdx.x / (kGemmGroup * columnTiles),
                inside = blockIdx.x % (kGemmGroup * columnTiles);
  const int64_t height =
      rowTiles - group * kGemmGroup < kGemmGroup ? rowTiles - group * kGemmGroup : kGemmGroup;
  *row = (group * kGemmGroup + inside % height) * kGemmTile;
  *column = inside / height * kGemmTile;
}

template <class Out>
__device__ __forceinline__ void storeSum(const GemmArguments& g, int64_t row, int64_t column, float sum) {
  if (row >= g.m || column >= g.n) return;
  Out* c = static_cast<Out*>(g.c) + row * g.ldc + column;
  if (g.accumulate) sum += toFloat(*c);
  *c = fromFloat<Out>(addBias(sum, g.bias, column));
}

// Each launches one product; types, layouts and alignment were checked when the kernel was chosen.
void launchSm80Gemm(cudaStream_t stream, DType type, DType result, bool transA, bool transB,
                    const GemmArguments& g);
void launchPlainGemm(cudaStream_t stream, DType type, DType result, bool transA, bool transB,
                     const GemmArguments& g);

// Calls f<T, Out, transA, transB>() for run-time types and layouts, as f(tag of T, tag of Out, constants).
template <class F>
void dispatchGemm(DType type, DType result, bool transA, bool transB, F&& f) {
  dispatchActivationType(type, "gemm", [&](auto tag) {
    const auto layouts = [&](auto out) {
      if (transA && transB) return f(tag, out, std::true_type{}, std::true_type{});
      if (transA) return f(tag, out, std::true_type{}, std::false_type{});
      if (transB) return f(tag, out, std::false_type{}, std::true_type{});
      f(tag, out, std::false_type{}, std::false_type{});
    };
    if (result == DType::F32) return layouts(TypeTag<float>{});
    layouts(tag);
  });
}

}  // namespace tesserae
