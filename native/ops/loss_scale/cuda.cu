#include "ops/attributes.h"
#include "ops/cuda_support.cuh"
#include "ops/loss_scale/rule.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

__global__ void lossScaleKernel(LossScaler* scaler, const GradientNorm* norm, ScalerRule rule) {
  followScaler(rule, *norm, *scaler);
}

void lossScale(const KernelContext& c) {
  const ScalerRule rule{c.attributes->number("growthFactor"), c.attributes->number("backoffFactor"),
                        c.attributes->integer("growthInterval", 1)};
  lossScaleKernel<<<1, 1, 0, cudaStream(c)>>>(c.outputs[0].as<LossScaler>(), c.inputs[1].as<GradientNorm>(),
                                              rule);
  cudaCheckLaunch("loss_scale");
}

}  // namespace

void register_loss_scale_cuda(KernelRegistry& registry) { registry.add("loss_scale", lossScale); }

}  // namespace tesserae
