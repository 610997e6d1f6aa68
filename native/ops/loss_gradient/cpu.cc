#include "ops/registry.h"
#include "ops/state.h"

namespace tesserae::TESSERAE_ISA {

namespace {

void lossGradient(const KernelContext& c) {
  c.outputs[0].f32()[0] = static_cast<float>(c.inputs[0].as<LossScaler>()->scale / c.inputs[1].f64()[0]);
}

}  // namespace

void register_loss_gradient_cpu(KernelRegistry& registry) { registry.add("loss_gradient", lossGradient); }

}  // namespace tesserae::TESSERAE_ISA
