// The ways to compute a matrix product, and their names: in tables of measured products, in plans and in
// checkpoints.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ops/gemm/problem.h"

namespace tesserae {

// Algorithms of cuBLASLt that are tried.
inline constexpr int kMostAlgorithms = 16;

struct GemmCandidate {
  GemmKernel kernel;
  int algorithm = 0;  // cuBLASLt: the place in its list for the product, from 1; 0: its own choice
  bool operator==(const GemmCandidate&) const = default;
};

// 'sm90 128 × 192'; 'cuBLASLt 3' for the third of its list, 'cuBLASLt' for its own choice.
std::string candidateName(const GemmCandidate& candidate);
// Nothing for a name that this release does not know.
std::optional<GemmCandidate> parseCandidate(std::string_view name);

// All candidates of a product on a target, in the order of gemmKernels. cuBLASLt may have fewer algorithms.
std::vector<GemmCandidate> gemmCandidates(const GemmProblem& problem, const Target& target);

}  // namespace tesserae
