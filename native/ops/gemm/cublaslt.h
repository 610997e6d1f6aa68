// Matrix products by cuBLASLt, which is opened at run time.
#pragma once

#include <memory>
#include <vector>

#include "ops/gemm/gemm.h"

namespace tesserae {

// Descriptors and algorithm of a product, for one device and the thread that uses it.
class LibraryProduct;

// The product by each of the algorithms that cuBLASLt proposes, at most `most`. Its heuristic expects the
// first to be the fastest.
std::vector<std::shared_ptr<LibraryProduct>> libraryProducts(const GemmProblem& problem, Precision precision,
                                                             int most);

// `workspace`: kGemmWorkspaceBytes, aligned to 256.
void runLibraryProduct(CUstream_st* stream, LibraryProduct& product, const GemmProblem& problem,
                       const GemmOperands& operands, void* workspace);

}  // namespace tesserae
