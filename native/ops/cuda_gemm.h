// defines: GemmShape, GemmMatrix, GemmFusion, GemmCall, gemm, fusedGemm, initializeGemm, kGemmWorkspaceBytes
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

// What is done to a 16-bit result before it is stored: s = op(A) op(B) + bias becomes gelu_new(s), s being
// kept in `aux` unless that is null; or it becomes s gelu_new'(aux).
enum class GemmFusion : uint8_t { None, GeluNew, GeluNewSlope };

struct GemmCall {
  GemmShape shape;
  GemmMatrix a, b, c;
  float alpha = 1, beta = 0;
  const float* bias = nullptr;  // (n), added to every row unless null
  GemmFusion fusion = GemmFusion::None;
  void* aux = nullptr;                    // as C: its shape, type and stride
  Precision precision = Precision::FP32;  // where A and B are fp32: TF32 or not
  void* workspace = nullptr;              // kGemmWorkspaceBytes, aligned to 256
  int64_t workspaceBytes = 0;
  bool rowsApart = false;  // a row of C depends on its row of A alone, bit for bit: kernels of our own
};

// Enqueues the product, which has no fusion. The result is the same each time on the same chip with the same
// library. cuBLASLt computes it, or kernels of our own where that is absent, knows no way or
// TESSERAE_GEMM=own is set.
void gemm(CUstream_st* stream, const GemmCall& call);

// Enqueues the product and its fusion. False where cuBLASLt does not do it: nothing but workspace was
// written.
bool fusedGemm(CUstream_st* stream, const GemmCall& call);

// Opens cuBLASLt for a device, which must be the current one: once, before its first Program is captured.
// Without it the first gemm() does so.
void initializeGemm(int device);

}  // namespace tesserae
