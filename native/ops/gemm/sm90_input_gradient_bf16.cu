#include "ops/gemm/sm90.cuh"

namespace tesserae {

void launchSm90InputGradientBf16(CUstream_st* stream, const GemmProblem& problem,
                                 const GemmOperands& operands) {
  launchSm90InputGradient<__nv_bfloat16>(stream, problem, operands);
}

}  // namespace tesserae
