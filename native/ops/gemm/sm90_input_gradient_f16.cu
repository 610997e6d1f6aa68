#include "ops/gemm/sm90.cuh"

namespace tesserae {

void launchSm90InputGradientF16(CUstream_st* stream, const GemmProblem& problem,
                                const GemmOperands& operands) {
  launchSm90InputGradient<__half>(stream, problem, operands);
}

}  // namespace tesserae
