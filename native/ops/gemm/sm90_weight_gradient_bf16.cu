#include "ops/gemm/sm90.cuh"

namespace tesserae {

void launchSm90WeightGradientBf16(CUstream_st* stream, const GemmProblem& problem,
                                  const GemmOperands& operands, void* workspace) {
  launchSm90<__nv_bfloat16, true, Sm90Epilogue::Sums, ActivationFunction::None>(stream, problem, operands,
                                                                                workspace);
}

}  // namespace tesserae
