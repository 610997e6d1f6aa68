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

// 16-bit operands: 16-bit results in the layouts of the forward pass and of the gradient of the input, fp32
// results in that of the weight gradient. TMA wants rows of a multiple of 16 bytes.
bool sm90Takes(const GemmProblem& problem) {
  using Kind = GemmPiece::Kind;
  const auto takes = [&](const GemmPiece& piece) {
    switch (piece.kind) {
      case Kind::Bias:
      case Kind::KeepInput:
        return problem.transB && !problem.has(Kind::Exponentials);
      case Kind::Activation:
        // tanh's branches need more registers than there are.
        return problem.transB && piece.function != ActivationFunction::Tanh;
      case Kind::Slope:
        return !problem.transB && piece.function != ActivationFunction::Tanh;
      case Kind::ColumnSums:
        return problem.has(Kind::Slope);
      case Kind::RowScale:
        return !problem.transB && problem.epilogue.size() == 1;
      case Kind::Exponentials:  // fp16 has not their range
        return problem.transB && problem.epilogue.size() == 1 && problem.type == DType::BF16;
    }
    return false;
  };
  const bool weightGradient = problem.transA && !problem.transB && problem.result == DType::F32;
  const bool others = !problem.transA && problem.result == problem.type;
  if (weightGradient && !problem.epilogue.empty()) return false;
  return (weightGradient || others) && dtypeSize(problem.type) == 2 && problem.strideA() % 8 == 0 &&
         problem.strideB() % 8 == 0 && problem.strideC() % 8 == 0 &&
         std::all_of(problem.epilogue.begin(), problem.epilogue.end(), takes);
}

// Only Sm90 has column sums. A pass over C costs less than a slower product, so they don't make it the first.
std::vector<GemmKernel> kernelsWithSums(const GemmProblem& problem, const Target& target) {
  GemmProblem without = problem;
  std::erase_if(without.epilogue,
                [](const GemmPiece& piece) { return piece.kind == GemmPiece::Kind::ColumnSums; });
  const std::vector<GemmKernel> kernels = gemmKernels(without, target);
  const bool isFirst = !kernels.empty() && kernels.front() == GemmKernel::Sm90;
  return isFirst && sm90Takes(problem) ? std::vector{GemmKernel::Sm90} : std::vector<GemmKernel>{};
}

}  // namespace

bool GemmProblem::has(GemmPiece::Kind kind) const {
  return std::any_of(epilogue.begin(), epilogue.end(),
                     [&](const GemmPiece& piece) { return piece.kind == kind; });
}

ActivationFunction GemmProblem::function(GemmPiece::Kind kind) const {
  const auto piece =
      std::find_if(epilogue.begin(), epilogue.end(), [&](const GemmPiece& one) { return one.kind == kind; });
  return piece == epilogue.end() ? ActivationFunction::None : piece->function;
}

const char* gemmKernelName(GemmKernel kernel) {
  static const char* const names[] = {"cuBLASLt", "sm90 128 × 192", "sm80 128 × 128", "plain"};
  return names[static_cast<int>(kernel)];
}

std::vector<GemmKernel> gemmKernels(const GemmProblem& problem, const Target& target) {
  if (problem.has(GemmPiece::Kind::ColumnSums)) return kernelsWithSums(problem, target);
  std::vector<GemmKernel> kernels;
  const bool sm90 = target.arch == 90 && sm90Takes(problem);
  // cuBLASLt takes a third longer with an activation or a slope, and wants a bias in 16 bits, which is one
  // more kernel. It has tiles of more sizes for products that don't fill the chip, or that don't fill our
  // tiles.
  const int64_t tiles = (problem.m + 255) / 256 * 2 * ((problem.n + 191) / 192);  // two blocks make a cluster
  const bool filled = problem.m * problem.n >= 0.94 * tiles * (128 * 192);
  const bool sm90IsFaster =
      (problem.transB || !problem.epilogue.empty() || filled) && tiles >= target.multiprocessors;
  if (sm90 && sm90IsFaster) kernels.push_back(GemmKernel::Sm90);
  if (target.cublasLt && libraryTakes(problem)) kernels.push_back(GemmKernel::CublasLt);
  if (sm90 && !sm90IsFaster) kernels.push_back(GemmKernel::Sm90);
  if (ownKernelsTake(problem)) {
    const bool vectors = problem.strideA() % 8 == 0 && problem.strideB() % 8 == 0;
    kernels.push_back(dtypeSize(problem.type) == 2 && vectors ? GemmKernel::Sm80 : GemmKernel::Plain);
  }
  return kernels;
}

}  // namespace tesserae
