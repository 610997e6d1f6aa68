#include "ops/gemm/candidates.h"

namespace tesserae {

std::string candidateName(const GemmCandidate& candidate) {
  const std::string name = gemmKernelName(candidate.kernel);
  return candidate.algorithm > 0 ? name + " " + std::to_string(candidate.algorithm) : name;
}

std::optional<GemmCandidate> parseCandidate(std::string_view name) {
  for (int kernel = 0; kernel <= static_cast<int>(GemmKernel::Plain); ++kernel) {
    const auto known = static_cast<GemmKernel>(kernel);
    const int algorithms = known == GemmKernel::CublasLt ? kMostAlgorithms : 0;
    for (int algorithm = 0; algorithm <= algorithms; ++algorithm) {
      if (name == candidateName({known, algorithm})) return GemmCandidate{known, algorithm};
    }
  }
  return std::nullopt;
}

std::vector<GemmCandidate> gemmCandidates(const GemmProblem& problem, const Target& target) {
  std::vector<GemmCandidate> candidates;
  for (GemmKernel kernel : gemmKernels(problem, target)) {
    if (kernel != GemmKernel::CublasLt) {
      candidates.push_back({kernel});
      continue;
    }
    for (int algorithm = 1; algorithm <= kMostAlgorithms; ++algorithm)
      candidates.push_back({kernel, algorithm});
  }
  return candidates;
}

}  // namespace tesserae
