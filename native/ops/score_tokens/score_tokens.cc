// What the options of sampling make of logits before the temperature: biases and allowed tokens, then
// penalties.
#include "ops/registry.h"
#include "ops/sampling.h"

namespace tesserae {

namespace {

enum {
  kLogits,
  kRowSettings,
  kStream,
  kStart,
  kLengths,
  kBias,
  kMask,
  kSetAt,
  kSets,
  kStops,
  kCounts,
  kHistory
};

void inferScoreTokens(InferContext& c) {
  const TensorSpec& logits = c.input(kLogits);
  c.require(logits.axes.size() == 2 && logits.axes[1].factors.size() == 1 && logits.dtype == DType::F32,
            "logits must be batch × vocabulary float32, not " + logits.describe());
  const int64_t batch = logits.axes[0].physical(), vocabulary = logits.axes[1].physical();
  const int64_t words = maskWords(logits.axes[1].logical());
  const auto table = [&](int input, int64_t rows, int64_t columns, DType type, const char* name) {
    if (!c.has(input)) return;
    const TensorSpec& spec = c.input(input);
    const auto is = [](int64_t extent, int64_t wanted) { return wanted < 0 || extent == wanted; };
    c.require(spec.axes.size() == 2 && is(spec.axes[0].physical(), rows) &&
                  is(spec.axes[1].physical(), columns) && spec.dtype == type,
              std::string(name) + " must be " + std::to_string(rows) + " × " + std::to_string(columns) +
                  " (-1: any), not " + spec.describe());
  };
  const auto positions = [&](int input) { return c.has(input) ? c.input(input).axes.back().physical() : 0; };
  const auto vector = [&](int input, int64_t size, DType type, const char* name) {
    if (!c.has(input)) return;
    const TensorSpec& spec = c.input(input);
    c.require(spec.axes.size() == 1 && spec.axes[0].physical() == size && spec.dtype == type,
              std::string(name) + " must have " + std::to_string(size) + " elements, not " + spec.describe());
  };
  table(kRowSettings, batch, kSettings, DType::F32, "settings");
  table(kStream, batch, 2, DType::I64, "stream");
  vector(kStart, batch, DType::I32, "start");
  vector(kLengths, batch, DType::I32, "lengths");
  vector(kBias, vocabulary, DType::F32, "bias");
  table(kMask, batch, words, DType::U32, "mask");
  c.require(c.has(kSetAt) == c.has(kSets), "setAt and sets belong together");
  table(kSetAt, batch, -1, DType::I32, "setAt");
  table(kSets, -1, words, DType::U32, "sets");
  table(kStops, 2, words, DType::U32, "stops");
  table(kCounts, batch, vocabulary, DType::U32, "counts");
  table(kHistory, batch, c.has(kSetAt) ? positions(kSetAt) : -1, DType::I32, "history");
  c.output(0, logits);
}

// One set of those is read for each row.
Cost scoreTokensCost(const CallShape& c) {
  const TensorSpec* sets = c.inputs[kSets];
  const double unread = sets ? static_cast<double>(sets->bytes()) : 0.0;
  return {.vectorFlops = 8.0 * c.inputs[0]->physicalElements(), .extraBytes = -unread};
}

}  // namespace

void register_score_tokens(OperationRegistry& registry) {
  // scores = logits + bias; -inf where mask, the set of the token's position (setAt: its index by row and
  // position, -1 none) or, before minNewTokens, a stop forbids the token. Then of tokens that were there
  // (counts): s / repetitionPenalty, or s * repetitionPenalty below zero (Keskar et al. 2019, "CTRL",
  // section 4.1); s - frequencyPenalty * times drawn
  // - presencePenalty where it was drawn. Last, -inf for what would repeat an n-gram of the history.
  registry.add({.name = "score_tokens",
                .inputs = {"logits", "settings", "stream", "start", "lengths", "bias?", "mask?", "setAt?",
                           "sets?", "stops?", "counts?", "history?"},
                .outputs = {"scores"},
                .infer = inferScoreTokens,
                .cost = scoreTokensCost});
}

}  // namespace tesserae
