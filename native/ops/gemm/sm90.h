// 16-bit products by Hopper's wgmma and TMA; sm90.cuh has the kernel, sm90_*.cu its instances.
#pragma once

#include <cuda.h>  // CUtensorMap

#include "ops/gemm/gemm.h"

namespace tesserae {

// Describes a row-major matrix (rows, columns) to TMA, in boxes of boxRows rows of 128 bytes.
CUtensorMap tensorMap(const void* matrix, DType type, int64_t rows, int64_t columns, int boxRows);

// Launches a product that sm90Takes lets through. `workspace`: kGemmWorkspaceBytes.
void launchSm90Gemm(CUstream_st* stream, const GemmProblem& problem, const GemmOperands& operands,
                    void* workspace);

void launchSm90ForwardBf16(CUstream_st* stream, const GemmProblem& problem, const GemmOperands& operands);
void launchSm90ForwardF16(CUstream_st* stream, const GemmProblem& problem, const GemmOperands& operands);
void launchSm90ExponentialsBf16(CUstream_st* stream, const GemmProblem& problem,
                                const GemmOperands& operands);
void launchSm90InputGradientBf16(CUstream_st* stream, const GemmProblem& problem,
                                 const GemmOperands& operands);
void launchSm90InputGradientF16(CUstream_st* stream, const GemmProblem& problem,
                                const GemmOperands& operands);
void launchSm90WeightGradientBf16(CUstream_st* stream, const GemmProblem& problem,
                                  const GemmOperands& operands, void* workspace);
void launchSm90WeightGradientF16(CUstream_st* stream, const GemmProblem& problem,
                                 const GemmOperands& operands, void* workspace);

}  // namespace tesserae
