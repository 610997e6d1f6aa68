// Runs the matrix products of CUDA kernels by the kernels that were chosen for them.
#pragma once

#include "ops/choice.h"
#include "ops/kernel.h"

struct CUstream_st;  // cudaStream_t points to one

namespace tesserae {

// Of the piece Exponentials.
struct GemmExponentials {
  const float* references = nullptr;  // (m), times log2 e
  const int32_t* targets = nullptr;   // (m): a column that becomes zero; -1 for a row of zeros
  float* rowSums = nullptr;           // (kExponentialColumns at a time, m)
  int32_t vocabulary = 0;             // columns that are logits; the rest is padding
};

// Where the matrices of a product are. Shapes, types and pieces are those of its GemmProblem.
struct GemmOperands {
  const void *a = nullptr, *b = nullptr;
  void* c = nullptr;
  bool accumulate = false;          // adds to what C holds
  const float* bias = nullptr;      // (n): of the piece Bias
  void* aux = nullptr;              // (m, n): written by KeepInput, read by Slope
  float* columnSums = nullptr;      // (columnSumRows(m), n): written by ColumnSums
  const float* rowScale = nullptr;  // (m): of RowScale
  GemmExponentials exponentials = {};
};

// Enqueues a product of the call. Its workspace begins with the kGemmWorkspaceBytes of the products. The
// result is the same each time on the same chip with the same library.
void gemm(const KernelContext& c, const GemmChoice& choice, const GemmOperands& operands);

}  // namespace tesserae
