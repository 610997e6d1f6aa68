#include "ops/gemm/gemm.h"

#include "ops/gemm/cublaslt.h"
#include "ops/gemm/sm90.h"
#include "ops/gemm/tiles.cuh"

namespace tesserae {

void gemm(const KernelContext& c, const GemmChoice& choice, const GemmOperands& operands) {
  const GemmProblem& p = choice.problem;
  if (p.m <= 0 || p.n <= 0) return;
  const GemmArguments own{operands.a,  operands.b,  operands.c,          p.m,          p.n, p.k, p.strideA(),
                          p.strideB(), p.strideC(), operands.accumulate, operands.bias};
  switch (choice.kernel) {
    case GemmKernel::CublasLt:
      return runLibraryProduct(cudaStream(c), *choice.library, p, operands, c.workspace);
    case GemmKernel::Sm90:
      return launchSm90Gemm(cudaStream(c), p, operands, c.workspace);
    case GemmKernel::Sm80:
      return launchSm80Gemm(cudaStream(c), p.type, p.result, p.transA, p.transB, own);
    case GemmKernel::Plain:
      return launchPlainGemm(cudaStream(c), p.type, p.result, p.transA, p.transB, own);
  }
}

}  // namespace tesserae
