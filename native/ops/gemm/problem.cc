#include "ops/gemm/problem.h"

#include <algorithm>

namespace tesserae {

namespace {

// cuBLASLt's epilogues: a bias, then GELU's tanh form or its slope, on 16-bit results.
bool libraryTakes(const GemmProblem& problem) {
  if (problem.rowInvariant) return false;  // its kernels, and so the order of the sums, depend on the rows
  return std::all_of(problem.epilogue.begin(), problem.epilogue.end(), [&](const GemmPiece& piece) {
    switch (piece.kind) {
      case GemmPiece::Kind::Bias:
      case GemmPiece::Kind::KeepInput:
        return true;
      default:
        return piece.function == ActivationFunction::GeluNew && dtypeSize(problem.result) == 2;
    }
  });
}

bool ownKernelsTake(const GemmProblem& problem) {
  return std::all_of(problem.epilogue.begin(), problem.epilogue.end(),
                     [](const GemmPiece& piece) { return piece.kind == GemmPiece::Kind::Bias; });
}

}  // namespace

bool GemmProblem::has(GemmPiece::Kind kind) const {
  return std::any_of(epilogue.begin(), epilogue.end(),
                     [&](const GemmPiece& piece) { return piece.kind == kind; });
}

const char* gemmKernelName(GemmKernel kernel) {
  static const char* const names[] = {"cuBLASLt", "sm80 128 × 128", "plain"};
  return names[static_cast<int>(kernel)];
}

std::vector<GemmKernel> gemmKernels(const GemmProblem& problem, const Target& target) {
  std::vector<GemmKernel> kernels;
  if (target.cublasLt && libraryTakes(problem)) kernels.push_back(GemmKernel::CublasLt);
  if (ownKernelsTake(problem)) {
    const bool vectors = problem.strideA() % 8 == 0 && problem.strideB() % 8 == 0;
    kernels.push_back(dtypeSize(problem.type) == 2 && vectors ? GemmKernel::Sm80 : GemmKernel::Plain);
  }
  return kernels;
}

}  // namespace tesserae
