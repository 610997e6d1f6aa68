// How a call is computed: decided once, when its Program is compiled.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ops/gemm/candidates.h"

namespace tesserae {

class LibraryProduct;  // ops/gemm/cublaslt.h

// What a kernel was chosen by: the rule of gemmKernels, or an entry of a table of measured products.
enum class ChoiceSource : uint8_t { Rule, Shipped, Cache, Checkpoint };

struct GemmChoice {
  GemmProblem problem;
  GemmKernel kernel;
  int64_t runs = 1;                              // how often the call computes it
  std::shared_ptr<LibraryProduct> library = {};  // of cuBLASLt, once a device has chosen its algorithm
  int algorithm = 0;                             // as in GemmCandidate
  ChoiceSource source = ChoiceSource::Rule;
  double seconds = 0;            // expected of one product; 0: not known
  std::string unavailable = {};  // the kernel that a table names, where it can't compute the product

  GemmCandidate candidate() const { return {kernel, algorithm}; }
};

struct KernelChoice {
  std::string kernel;                     // its name in the registry
  std::vector<GemmChoice> products = {};  // the matrix products that it runs, in the contract's order
  int64_t ctas = 0;  // blocks of a kernel that shares out its work; 0: by the shape alone
};

// A choice for products alone: the best kernel for each of them, as long as nothing has looked at the device.
// Nothing where one of them has no kernel.
std::optional<KernelChoice> chooseProducts(std::string kernel, const std::vector<GemmProblem>& problems,
                                           const Target& target);

}  // namespace tesserae
