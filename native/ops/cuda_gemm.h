// defines: GemmShape, GemmMatrix, GemmCall, gemm, initializeGemm, kGemmWorkspaceBytes
// Matrix products of the CUDA kernels. The header is plain C++, since contracts size their workspace by it.
#pragma once

#include <cstdint>

#include "runtime/dtype.h"

struct CUstream_st;  // cudaStream_t points to one

namespace tesserae {

// Workspace of a product: 32 MiB for cuBLASLt, then 1 MiB for a bias in the type of the result.
inline constexpr int64_t kGemmLibraryBytes = int64_t{32} << 20;
inline constexpr int64_t kGemmWorkspaceBytes = kGemmLibraryBytes + (int64_t{1} << 20);

// C (m, n) = alpha op(A) op(B) + beta C, op(A) (m, k), op(B) (k, n); all row-major.
struct GemmShape {
  bool transA = false, transB = false;  // A is stored (k, m), B is stored (n, k)
  int64_t m = 0, n = 0, k = 0;
};

struct GemmMatrix {
  void* data = nullptr;
  DType dtype = DType::F32;  // F32, BF16 or F16; A and B have the same, C that type or F32
  int64_t stride = 0;        // elements from one stored row to the next
};

struct GemmCall {
  GemmShape shape;
  GemmMatrix a, b, c;
  float alpha = 1, beta = 0;
  const float* bias = nullptr;            // (n), added to every row unless null
  Precision precision = Precision::FP32;  // where A and B are fp32: TF32 or not
  void* workspace = nullptr;              // kGemmWorkspaceBytes, aligned to 256
  int64_t workspaceBytes = 0;
};

// Enqueues the product. The result is the same each time on the same chip with the same library. cuBLASLt
// computes it, or kernels of our own where that is absent, knows no way or TESSERAE_GEMM=own is set.
void gemm(CUstream_st* stream, const GemmCall& call);

// Opens cuBLASLt for a device, which must be the current one: once, before its first Program is captured.
// Without it the first gemm() does so.
void initializeGemm(int device);

}  // namespace tesserae
