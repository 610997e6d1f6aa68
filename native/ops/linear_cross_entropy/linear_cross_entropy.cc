// The output layer and its loss in one: logits = x Wᵀ, their cross-entropy and both gradients, a panel of
// rows at a time, so that the (rows × vocabulary) logits never exist as a whole.
#include "ops/linear_cross_entropy/plan.h"
#include "ops/registry.h"
#include "ops/state_values.h"

namespace tesserae {

namespace {

// x [..., C], weight [V, C], targets [...] -> loss (2) = {Σ loss, Σ 1} over valid targets, dx [..., C],
// dweight [V, C]
void inferLinearCrossEntropy(InferContext& c) {
  enum { kX, kWeight, kTargets, kLossGradient };
  const TensorSpec &x = c.input(kX), &weight = c.input(kWeight), &targets = c.input(kTargets);
  c.require(weight.axes.size() == 2 && weight.axes[0].factors.size() == 1,
            "weight must have two axes (vocabulary, in), not " + weight.describe());
  c.require(!x.axes.empty() && x.axes.back().fits(weight.axes[1]),
            "the last axis of x (" + x.describe() + ") must be the second one of weight (" +
                weight.describe() + ")");
  c.require(targets.dtype == DType::I32 && targets.physicalElements() == x.rows(),
            "targets must be an int32 for each row of x, not " + targets.describe());
  const double smoothing = c.attributes().number("labelSmoothing", 0);
  c.require(smoothing >= 0 && smoothing < 1, "labelSmoothing must be at least 0 and below 1");
  c.output(0, stateSpec("loss"));
  c.output(1, {x.axes, c.activationType()});
  c.output(2, {weight.axes, DType::F32});
}

Cost costOf(const CallShape& c) {
  enum { kX, kWeight };
  enum { kLoss, kDx, kDweight };
  const TensorSpec &x = *c.inputs[kX], &weight = *c.inputs[kWeight];
  const double product = 2.0 * static_cast<double>(x.rows()) * static_cast<double>(weight.physicalElements());
  const double logits = static_cast<double>(x.rows() * weight.axes[0].physical());
  const int products = 1 + (c.outputs[kDx] ? 1 : 0) + (c.outputs[kDweight] ? 1 : 0);
  return {.matrixFlops = products * product, .vectorFlops = (products > 1 ? 20.0 : 16.0) * logits};
}

// For a panel of rows: the logits with their pieces, dx and dweight; then the same for the last panel, which
// may be lower.
std::vector<GemmProblem> panelProducts(const CallShape& c, int64_t panelRows,
                                       const std::vector<GemmPiece>& logits,
                                       const std::vector<GemmPiece>& dx) {
  const TensorSpec &x = *c.inputs[0], &weight = *c.inputs[1];
  const int64_t rows = x.rows(), columns = weight.axes[0].physical(), width = weight.axes[1].physical();
  std::vector<GemmProblem> problems;
  for (int64_t count : {panelRows, rows - (rows - 1) / panelRows * panelRows}) {
    problems.push_back({.transB = true,
                        .m = count,
                        .n = columns,
                        .k = width,
                        .type = x.dtype,
                        .result = x.dtype,
                        .epilogue = logits});
    problems.push_back(
        {.m = count, .n = width, .k = columns, .type = x.dtype, .result = x.dtype, .epilogue = dx});
    problems.push_back({.transA = true, .m = columns, .n = width, .k = count, .type = x.dtype});
  }
  return problems;
}

constexpr const char* kByExponentials = "linear_cross_entropy/exponentials";

// Products of panels, with how often each is computed.
std::optional<KernelChoice> choosePanels(std::string kernel, const CallShape& c, int64_t panelRows,
                                         const std::vector<GemmPiece>& logits,
                                         const std::vector<GemmPiece>& dx, const Target& target) {
  auto choice = chooseProducts(std::move(kernel), panelProducts(c, panelRows, logits, dx), target);
  if (!choice) return choice;
  const size_t ofPanel = choice->products.size() / 2;
  for (size_t i = 0; i < ofPanel; ++i) choice->products[i].runs = (c.inputs[0]->rows() - 1) / panelRows;
  return choice;
}

// By exponentials where the logits' product is Hopper's in any case.
std::optional<KernelChoice> chooseKernel(const CallShape& c, const Target& target) {
  if (!target.isCuda()) return KernelChoice{"linear_cross_entropy"};
  const TensorSpec &x = *c.inputs[0], &weight = *c.inputs[1];
  const int64_t rows = x.rows(), columns = weight.axes[0].physical(), width = weight.axes[1].physical();
  const CudaLinearCrossEntropyPlan plan =
      planCudaLinearCrossEntropy(rows, columns, width, dtypeSize(x.dtype), weight.dtype != x.dtype);
  const auto choice = choosePanels("linear_cross_entropy", c, plan.panelRows, {}, {}, target);
  if (!choice || choice->products[0].kernel != GemmKernel::Sm90 ||
      c.attributes.number("labelSmoothing", 0) > 0)
    return choice;
  using Kind = GemmPiece::Kind;
  const int64_t panelRows = exponentialPanelRows(rows, columns, width, target.multiprocessors);
  const auto exponentials =
      choosePanels(kByExponentials, c, panelRows, {{Kind::Exponentials}}, {{Kind::RowScale}}, target);
  return exponentials ? exponentials : choice;
}

int64_t workspace(const CallShape& c, const Target& target, const KernelChoice& choice) {
  const TensorSpec &x = *c.inputs[0], &weight = *c.inputs[1];
  if (choice.kernel == kByExponentials) {
    return planExponentials(x.rows(), weight.axes[0].physical(), weight.axes[1].physical(),
                            weight.dtype != x.dtype, choice.products[0].problem.m)
        .bytes;
  }
  if (target.isCuda()) {
    return planCudaLinearCrossEntropy(x.rows(), weight.axes[0].physical(), weight.axes[1].physical(),
                                      dtypeSize(x.dtype), weight.dtype != x.dtype)
        .bytes;
  }
  return planLinearCrossEntropy(x.rows(), weight.axes[0].physical(), weight.axes[1].physical()).bytes;
}

}  // namespace

void register_linear_cross_entropy(OperationRegistry& registry) {
  registry.add({.name = "linear_cross_entropy",
                .inputs = {"x", "weight", "targets", "lossGradient?*"},
                .outputs = {"loss*", "dx?", "dweight?"},
                .infer = inferLinearCrossEntropy,
                .cost = costOf,
                .choose = chooseKernel,
                .workspace = workspace});
}

}  // namespace tesserae
