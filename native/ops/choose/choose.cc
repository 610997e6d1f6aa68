// The next token of each row, by the Gumbel-max trick (Gumbel 1954; Maddison et al. 2014, "A* sampling",
// section 2): argmax_v of scores[v] / temperature + g_v, g_v standard Gumbel, is a sample of softmax(scores /
// temperature).
#include "ops/choose/plan.h"

#include "ops/registry.h"
#include "ops/sampling.h"

namespace tesserae {

namespace {

enum {
  kScores,
  kRowSettings,
  kStops,
  kThreshold,
  kStream,
  kStart,
  kLengths,
  kFinished,
  kNext,
  kChosen,
  kCounts,
  kHistory
};

void inferChoose(InferContext& c) {
  const TensorSpec& scores = c.input(kScores);
  c.require(scores.axes.size() == 2 && scores.axes[1].factors.size() == 1 && scores.dtype == DType::F32,
            "scores must be batch × vocabulary float32, not " + scores.describe());
  const Axis &batch = scores.axes[0], &vocabulary = scores.axes[1];
  const auto vector = [&](int input, DType type, const char* name) {
    const TensorSpec& spec = c.input(input);
    c.require(!spec.axes.empty() && spec.axes[0].fits(batch) && spec.physicalElements() == batch.physical() &&
                  spec.dtype == type,
              std::string(name) + " must be a vector over the batch, not " + spec.describe());
  };
  vector(kStart, DType::I32, "start");
  vector(kLengths, DType::I32, "lengths");
  vector(kFinished, DType::I32, "finished");
  vector(kNext, DType::I32, "next");
  if (c.has(kThreshold)) vector(kThreshold, DType::F32, "threshold");
  const auto table = [&](int input, const Axis& columns, DType type, const char* name) {
    const TensorSpec& spec = c.input(input);
    c.require(spec.axes.size() == 2 && spec.axes[0].fits(batch) &&
                  spec.axes[1].physical() == columns.physical() && spec.dtype == type,
              std::string(name) + " must be batch × " + std::to_string(columns.physical()) + ", not " +
                  spec.describe());
  };
  table(kRowSettings, countAxis("settings", kSettings), DType::F32, "settings");
  table(kStream, countAxis("fields", 2), DType::I64, "stream");
  if (c.has(kCounts)) table(kCounts, vocabulary, DType::U32, "counts");
  const TensorSpec &stops = c.input(kStops), &chosen = c.input(kChosen);
  c.require(stops.axes.size() == 2 && stops.axes[0].physical() == 2 &&
                stops.axes[1].physical() == maskWords(vocabulary.logical()) && stops.dtype == DType::U32,
            "stops must be 2 × ⌈vocabulary / 32⌉ uint32, not " + stops.describe());
  c.require(chosen.axes.size() == 2 && chosen.axes[0].physical() == kMostVisit && chosen.axes[1].fits(batch),
            "chosen must be visit × batch, not " + chosen.describe());
  if (c.has(kHistory)) {
    const TensorSpec& history = c.input(kHistory);
    c.require(history.axes.size() == 2 && history.axes[0].fits(batch) && history.dtype == DType::I32,
              "history must be batch × positions int32, not " + history.describe());
  }
  c.output(0, {{batch}, DType::I32});
  for (int state = kStream; state <= kHistory; ++state) {
    if (c.has(state)) c.output(state - kStream + 1, c.input(state));
  }
}

// A quarter of Philox, two logarithms and the comparison for each token id.
Cost chooseCost(const CallShape& c) { return {.vectorFlops = 80.0 * c.inputs[0]->physicalElements()}; }

// Blocks that share a row's vocabulary: about four a multiprocessor over all rows.
std::optional<KernelChoice> chooseKernel(const CallShape& c, const Target& target) {
  const int64_t rows = c.inputs[0]->axes[0].physical(), vocabulary = c.inputs[0]->axes[1].physical();
  const int64_t most = (vocabulary + kChooseIds - 1) / kChooseIds;
  return KernelChoice{"choose", {}, std::clamp<int64_t>(4 * target.multiprocessors / rows, 1, most)};
}

int64_t chooseWorkspace(const CallShape& c, const Target& target, const KernelChoice& choice) {
  if (!target.isCuda()) return 0;
  return c.inputs[0]->axes[0].physical() * choice.ctas * 8;
}

}  // namespace

void register_choose(OperationRegistry& registry) {
  // Temperature 0 takes the largest score, the lowest id among equals. Scores below the row's threshold and
  // those that are not above -inf are never taken. A row that is not finished moves on: start += lengths,
  // then the token is at position `start`; stream counts it; lengths = 1, or 0 where it ends the row. Of a
  // row that was finished nothing changes. The attribute `cache`: positions that a row may have. picked: the
  // token, -1 where none was taken. A row's tokens depend on no other row.
  registry.add({.name = "choose",
                .inputs = {"scores", "settings", "stops", "threshold?", "stream*", "start*", "lengths*",
                           "finished*", "next*", "chosen*", "counts*?", "history*?"},
                .outputs = {"picked", "stream*", "start*", "lengths*", "finished*", "next*", "chosen*",
                            "counts*?", "history*?"},
                .infer = inferChoose,
                .cost = chooseCost,
                .choose = chooseKernel,
                .workspace = chooseWorkspace});
}

}  // namespace tesserae
