// 16-bit products by Hopper's wgmma and TMA; sm90.cuh has the kernel, sm90_*.cu its instances.
#pragma once

#include <cuda.h>  // CUtensorMap

#include "ops/gemm/gemm.h"

namespace tesserae {

// Describes a row-major matrix (rows, columns) of 16-bit elements to TMA, in boxes of boxRows × 64.
CUtensorMap tensorMap(const void* matrix, DType type, int64_t rows, int64_t columns, int boxRows);

// Launches a product that takesSm90 lets through.
void launchSm90Gemm(CUstream_st* stream, const GemmProblem& problem, const GemmOperands& operands);

void launchSm90ForwardBf16(CUstream_st* stream, const GemmProblem& problem, const GemmOperands& operands);
void launchSm90ForwardF16(CUstream_st* stream, const GemmProblem& problem, const GemmOperands& operands);
void launchSm90ExponentialsBf16(CUstream_st* stream, const GemmProblem& problem,
                                const GemmOperands& operands);
void launchSm90InputGradientBf16(CUstream_st* stream, const GemmProblem& problem,
                                 const GemmOperands& operands);
void launchSm90InputGradientF16(CUstream_st* stream, const GemmProblem& problem,
                                const GemmOperands& operands);

}  // namespace tesserae
