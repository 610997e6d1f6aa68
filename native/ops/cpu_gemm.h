// Matrix products of the CPU kernels: oneDNN's sgemm on blocks that depend on the shapes alone, so that
// results do not depend on the number of threads. Included by cpu.cc files and by the contracts that size
// their workspace.
#pragma once

#include <cstdint>

#include <omp.h>

// The one function of oneDNN that is called; the same C entry in its versions 2 and 3.
extern "C" int dnnl_sgemm(char transa, char transb, int64_t m, int64_t n, int64_t k, float alpha,
                          const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c,
                          int64_t ldc);

namespace tesserae {

// How a (rows × columns) product is cut into tasks.
struct GemmTiles {
  int64_t rows, columns;          // of a tile
  int64_t rowTiles, columnTiles;  // how many
};

// Tall enough that oneDNN's packing of the weight is repaid, small enough that an epilogue finds the tile in
// L2; about kTasks tiles where the rows alone are fewer (decoding), none narrower than 128.
__attribute__((always_inline)) static inline GemmTiles gemmTiles(int64_t rows, int64_t columns) {
  constexpr int64_t kTileRows = 128, kNarrowest = 128, kWidest = 1024, kTasks = 32;
  const int64_t rowTiles = (rows + kTileRows - 1) / kTileRows;
  int64_t tileColumns = (columns * rowTiles / kTasks + 15) / 16 * 16;
  if (tileColumns < kNarrowest) tileColumns = kNarrowest;
  if (tileColumns > kWidest) tileColumns = kWidest;
  if (tileColumns > columns) tileColumns = columns;
  return {kTileRows, tileColumns, rowTiles, (columns + tileColumns - 1) / tileColumns};
}

// dW (out, in) = dYᵀ X: output tiles times runs of rows; the partial sums of the runs are added in order.
struct WeightGradientPlan {
  int64_t tileOut, tileIn, outTiles, inTiles;
  int64_t splitRows, splits;
  int64_t floats;  // workspace: partial products (splits, out, in), then partial column sums (splits, out)
};

__attribute__((always_inline)) static inline WeightGradientPlan planWeightGradient(int64_t rows, int64_t out,
                                                                                   int64_t in) {
  constexpr int64_t kTasks = 16, kTileOut = 512, kTileIn = 512, kSplitRows = 512;
  WeightGradientPlan p;
  p.outTiles = (out + kTileOut - 1) / kTileOut;
  p.tileOut = ((out + p.outTiles - 1) / p.outTiles + 15) / 16 * 16;
  p.inTiles = (in + kTileIn - 1) / kTileIn;
  p.tileIn = ((in + p.inTiles - 1) / p.inTiles + 15) / 16 * 16;
  const int64_t tiles = p.outTiles * p.inTiles;
  const int64_t most = (rows + kSplitRows - 1) / kSplitRows, wanted = (kTasks + tiles - 1) / tiles;
  p.splits = wanted < most ? wanted : most;
  if (p.splits < 1) p.splits = 1;
  p.splitRows = (rows + p.splits - 1) / p.splits;
  p.floats = (p.splits > 1 ? p.splits * out * in : 0) + p.splits * out;
  return p;
}

}  // namespace tesserae

#ifdef TESSERAE_ISA
namespace tesserae::TESSERAE_ISA {

// C (m, n) = alpha op(A) op(B) + beta C, row-major, on the calling thread. Only inside a parallel region:
// oneDNN runs on one thread there, except in a team of one, whose copy of the setting is changed here.
__attribute__((always_inline)) static inline void gemm(char transa, char transb, int64_t m, int64_t n,
                                                       int64_t k, float alpha, const float* a, int64_t lda,
                                                       const float* b, int64_t ldb, float beta, float* c,
                                                       int64_t ldc) {
  omp_set_num_threads(1);
  dnnl_sgemm(transa, transb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

// dW (out, in) = [dW +] dYᵀ X and dBias (out) = [dBias +] column sums of dY; either may be null.
// dY (rows, out), X (rows, in); workspace: plan.floats.
static inline void weightGradient(const float* dy, const float* x, int64_t rows, int64_t out, int64_t in,
                                  float* dw, bool addWeight, float* dbias, bool addBias, float* workspace,
                                  int threads) {
  const WeightGradientPlan p = planWeightGradient(rows, out, in);
  float* partial = workspace;                                          // (splits, out, in)
  float* sums = workspace + (p.splits > 1 ? p.splits * out * in : 0);  // (splits, out)
  const int64_t tasks = p.splits * p.outTiles * p.inTiles;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t task = 0; task < tasks; ++task) {
    const int64_t split = task / (p.outTiles * p.inTiles);
    const int64_t o = task / p.inTiles % p.outTiles * p.tileOut, i = task % p.inTiles * p.tileIn;
    const int64_t row = split * p.splitRows;
    const int64_t count = row + p.splitRows < rows ? p.splitRows : rows - row;
    const int64_t outs = o + p.tileOut < out ? p.tileOut : out - o,
                  ins = i + p.tileIn < in ? p.tileIn : in - i;
    const float* g = dy + row * out + o;
    if (dw) {
      float* to = (p.splits > 1 ? partial + split * out * in : dw) + o * in + i;
      gemm('T', 'N', outs, ins, count, 1.0f, g, out, x + row * in + i, in,
           p.splits == 1 && addWeight ? 1.0f : 0.0f, to, in);
    }
    if (dbias && i == 0) {
      float* s = sums + split * out + o;
      for (int64_t j = 0; j < outs; ++j) s[j] = 0;
      for (int64_t r = 0; r < count; ++r) {
#pragma omp simd
        for (int64_t j = 0; j < outs; ++j) s[j] += g[r * out + j];
      }
    }
  }
  if (dw && p.splits > 1) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t o = 0; o < out; ++o) {
      float* to = dw + o * in;
      for (int64_t split = 0; split < p.splits; ++split) {
        const float* from = partial + (split * out + o) * in;
        if (split == 0 && !addWeight) {
#pragma omp simd
          for (int64_t i = 0; i < in; ++i) to[i] = from[i];
        } else {
#pragma omp simd
          for (int64_t i = 0; i < in; ++i) to[i] += from[i];
        }
      }
    }
  }
  if (dbias) {
    for (int64_t j = 0; j < out; ++j) {
      float total = addBias ? dbias[j] : 0.0f;
      for (int64_t split = 0; split < p.splits; ++split) total += sums[split * out + j];
      dbias[j] = total;
    }
  }
}

}  // namespace tesserae::TESSERAE_ISA
#endif
