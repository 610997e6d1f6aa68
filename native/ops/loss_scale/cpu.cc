#include "ops/attributes.h"
#include "ops/loss_scale/rule.h"
#include "ops/registry.h"

namespace tesserae::TESSERAE_ISA {

namespace {

void lossSeed(const KernelContext& c) {
  c.outputs[0].f32()[0] = static_cast<float>(c.inputs[0].as<LossScaler>()->scale / c.inputs[1].f64()[0]);
}

void lossScale(const KernelContext& c) {
  const ScalerRule rule{c.attributes->number("growthFactor"), c.attributes->number("backoffFactor"),
                        c.attributes->integer("growthInterval", 1)};
  followScaler(rule, *c.inputs[1].as<GradientNorm>(), *c.outputs[0].as<LossScaler>());
}

}  // namespace

void register_loss_scale_cpu(KernelRegistry& registry) {
  registry.add("loss_seed", lossSeed);
  registry.add("loss_scale", lossScale);
}

}  // namespace tesserae::TESSERAE_ISA
