// Matrix products by cuBLASLt, which is opened at run time.
#pragma once

#include <memory>

#include "ops/gemm/gemm.h"

namespace tesserae {

// Descriptors and algorithm of a product, for one device and the thread that uses it.
class LibraryProduct;

// Lets cuBLASLt choose an algorithm for the current device; null where it has none.
std::shared_ptr<LibraryProduct> chooseLibraryProduct(const GemmProblem& problem, Precision precision);

// `workspace`: kGemmWorkspaceBytes, aligned to 256.
void runLibraryProduct(CUstream_st* stream, LibraryProduct& product, const GemmProblem& problem,
                       const GemmOperands& operands, void* workspace);

}  // namespace tesserae
