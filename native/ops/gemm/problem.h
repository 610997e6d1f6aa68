// A matrix product as a contract knows it, before there is memory. Plain C++: contracts describe their
// products, the chooser picks a kernel for each, kernels run what was picked.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/activation/functions.h"
#include "runtime/dtype.h"
#include "runtime/target.h"

namespace tesserae {

// Arithmetic on the fp32 sums before they are stored, in the order in which it is listed.
struct GemmPiece {
  enum class Kind : uint8_t {
    Bias,          // + bias (n), fp32
    Activation,    // f(x)
    KeepInput,     // stores x in `aux`, which has the shape, type and stride of C
    Slope,         // x ∘ f'(aux)
    ColumnSums,    // stores the sums of x over 32 rows at a time
    RowScale,      // x ∘ scale (m), fp32
    Exponentials,  // e^(x - reference) (m), and their sums over kExponentialColumns at a time
  };
  Kind kind;
  ActivationFunction function = ActivationFunction::None;
  bool operator==(const GemmPiece&) const = default;
};

// C (m, n) = op(A) op(B) [+ C], op(A) (m, k), op(B) (k, n); all row-major and aligned to 256 bytes.
struct GemmProblem {
  bool transA = false, transB = false;  // A is stored (k, m), B is stored (n, k)
  int64_t m = 0, n = 0, k = 0;
  DType type = DType::F32;    // of A and B: F32, BF16 or F16
  DType result = DType::F32;  // of C: that type or F32
  std::vector<GemmPiece> epilogue = {};
  bool rowInvariant = false;  // a row of C depends on its row of A alone, bit for bit

  // Elements from one stored row to the next.
  int64_t strideA() const { return transA ? m : k; }
  int64_t strideB() const { return transB ? k : n; }
  int64_t strideC() const { return n; }
  bool has(GemmPiece::Kind kind) const;
  // The function of that piece; None without the piece.
  ActivationFunction function(GemmPiece::Kind kind) const;
  bool operator==(const GemmProblem&) const = default;
};

// Columns that the piece Exponentials sums together.
inline constexpr int kExponentialColumns = 192;

// Rows of sums that the piece ColumnSums stores: of 32 rows each, which are a warp's, for whole tiles of a
// cluster.
inline int64_t columnSumRows(int64_t m) { return (m + 255) / 256 * (256 / 32); }

enum class GemmKernel : uint8_t {
  CublasLt,  // the vendor's library; it picks one of its kernels on the device
  Sm90,      // wgmma on 16-bit operands, 128 × 192 tiles
  Sm80,      // mma.sync on 16-bit operands, 128 × 128 tiles
  Plain,     // fp32 multiply-adds of any type and stride
};
const char* gemmKernelName(GemmKernel kernel);

// The kernels that compute a product on a target, best first. Empty where there is none, because of its
// epilogue.
std::vector<GemmKernel> gemmKernels(const GemmProblem& problem, const Target& target);

// Scratch memory of the products of a call: 32 MiB for cuBLASLt, then 1 MiB for a bias in the type of the
// result. It does not depend on the shape, so memory grows with the rows alone.
inline constexpr int64_t kGemmLibraryBytes = int64_t{32} << 20;
inline constexpr int64_t kGemmWorkspaceBytes = kGemmLibraryBytes + (int64_t{1} << 20);
inline int64_t gemmWorkspaceBytes(const Target& target) { return target.isCuda() ? kGemmWorkspaceBytes : 0; }

}  // namespace tesserae
