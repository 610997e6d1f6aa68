// Runs the matrix products of CUDA kernels by the kernels that were chosen for them.
#pragma once

#include "ops/choice.h"
#include "ops/kernel.h"

struct CUstream_st;  // cudaStream_t points to one

namespace tesserae {

// Where the matrices of a product are. Shapes, types and pieces are those of its GemmProblem.
struct GemmOperands {
  const void *a = nullptr, *b = nullptr;
  void* c = nullptr;
  bool accumulate = false;      // adds to what C holds
  const float* bias = nullptr;  // (n): of the piece Bias
  void* aux = nullptr;          // (m, n): written by KeepInput, read by Slope
  float* columnSums = nullptr;  // (sm90SumRows(m), n): written by ColumnSums
};

// Enqueues a product of the call. Its workspace begins with the kGemmWorkspaceBytes of the products. The
// result is the same each time on the same chip with the same library.
void gemm(const KernelContext& c, const GemmChoice& choice, const GemmOperands& operands);

}  // namespace tesserae
