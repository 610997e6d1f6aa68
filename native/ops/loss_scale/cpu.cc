#include "ops/attributes.h"
#include "ops/loss_scale/rule.h"
#include "ops/registry.h"

namespace tesserae::TESSERAE_ISA {

namespace {

void lossScale(const KernelContext& c) {
  const ScalerRule rule{c.attributes->number("growthFactor"), c.attributes->number("backoffFactor"),
                        c.attributes->integer("growthInterval", 1)};
  followScaler(rule, *c.inputs[1].as<GradientNorm>(), *c.outputs[0].as<LossScaler>());
}

}  // namespace

void register_loss_scale_cpu(KernelRegistry& registry) { registry.add("loss_scale", lossScale); }

}  // namespace tesserae::TESSERAE_ISA
