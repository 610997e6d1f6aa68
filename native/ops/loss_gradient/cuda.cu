#include "ops/cuda_support.cuh"
#include "ops/registry.h"
#include "ops/state.h"

namespace tesserae {

namespace {

__global__ void lossGradientKernel(const LossScaler* scaler, const double* divisor, float* gradient) {
  gradient[0] = static_cast<float>(scaler->scale / divisor[0]);
}

void lossGradient(const KernelContext& c) {
  lossGradientKernel<<<1, 1, 0, cudaStream(c)>>>(c.inputs[0].as<LossScaler>(), c.inputs[1].f64(),
                                                 c.outputs[0].f32());
  cudaCheckLaunch("loss_gradient");
}

}  // namespace

void register_loss_gradient_cuda(KernelRegistry& registry) { registry.add("loss_gradient", lossGradient); }

}  // namespace tesserae
