// Cross-entropy of logits against token ids, with label smoothing (Szegedy et al. 2016, section 7, as PyTorch
// has it).
#include "ops/cross_entropy/plan.h"
#include "ops/registry.h"
#include "ops/state_values.h"

namespace tesserae {

namespace {

void requireTargets(InferContext& c, const TensorSpec& logits, const TensorSpec& targets) {
  c.require(!logits.axes.empty() && logits.axes.back().factors.size() == 1,
            "logits need one factor as the last axis");
  c.require(targets.dtype == DType::I32 && targets.physicalElements() == logits.rows(),
            "targets must be an int32 for each row of logits, not " + targets.describe());
  const double smoothing = c.attributes().number("labelSmoothing", 0);
  c.require(smoothing >= 0 && smoothing < 1, "labelSmoothing must be at least 0 and below 1");
}

// logits [..., V→Vp], targets [...] -> loss (2) = {Σ loss, Σ 1} over valid targets, lse [...]
void inferCrossEntropy(InferContext& c) {
  enum { kLogits, kTargets };
  const TensorSpec& logits = c.input(kLogits);
  requireTargets(c, logits, c.input(kTargets));
  c.output(0, stateSpec("loss"));
  c.output(1, {Axes(logits.axes.begin(), logits.axes.end() - 1), DType::F32});
}

// Training passes the loss's gradient, which the forward pass does not read, for the backward operation.
void differentiateCrossEntropy(GradientContext& c) {
  enum { kLogits, kTargets, kLossGradient };
  enum { kLoss, kLse };
  const auto out = c.emit("cross_entropy_backward",
                          {c.input(kLogits), c.input(kTargets), c.output(kLse), c.input(kLossGradient)},
                          c.attributes(), {kNew});
  c.flow(kLogits, out[0]);
}

void inferBackward(InferContext& c) {
  enum { kLogits, kTargets };
  requireTargets(c, c.input(kLogits), c.input(kTargets));
  c.output(0, c.input(kLogits));
}

Cost forwardCost(const CallShape& c) { return {.vectorFlops = 16.0 * c.inputs[0]->physicalElements()}; }
Cost backwardCost(const CallShape& c) { return {.vectorFlops = 16.0 * c.inputs[0]->physicalElements()}; }

int64_t forwardWorkspace(const CallShape& c, const Target& target, const KernelChoice&) {
  if (target.isCuda()) return cudaLossBytes(c.inputs[0]->rows());
  return lossBlocks(c.inputs[0]->rows()) * static_cast<int64_t>(sizeof(LossSum));
}

}  // namespace

void register_cross_entropy(OperationRegistry& registry) {
  // loss = (1 - ε)(lse - z_target) + ε (lse - mean(z)), z the logical logits
  registry.add({.name = "cross_entropy",
                .inputs = {"logits", "targets", "lossGradient?*"},
                .outputs = {"loss*", "lse?"},
                .infer = inferCrossEntropy,
                .gradient = differentiateCrossEntropy,
                .cost = forwardCost,
                .workspace = forwardWorkspace});
  // dlogits = lossGradient (softmax(z) - (1 - ε) onehot(target) - ε / V); zero in rows without a valid target
  registry.add({.name = "cross_entropy_backward",
                .inputs = {"logits", "targets", "lse", "lossGradient*"},
                .outputs = {"dlogits"},
                .infer = inferBackward,
                .cost = backwardCost,
                .aliases = {{0, 0}}});
}

}  // namespace tesserae
