#include "ops/gemm/sm90.cuh"

namespace tesserae {

void launchSm90ExponentialsBf16(CUstream_st* stream, const GemmProblem& problem,
                                const GemmOperands& operands) {
  launchSm90<__nv_bfloat16, false, Sm90Epilogue::Exponentials, ActivationFunction::None>(stream, problem,
                                                                                         operands);
}

}  // namespace tesserae
