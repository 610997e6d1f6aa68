// Log-probabilities of the tokens that were chosen, and of the likeliest ones.
#include "ops/registry.h"
#include "ops/sampling.h"

namespace tesserae {

namespace {

void inferTokenLogProbs(InferContext& c) {
  enum { kLogits, kPicked, kStream, kLogProb, kTopTokens, kTopLogProbs };
  const TensorSpec& logits = c.input(kLogits);
  c.require(logits.axes.size() == 2 && logits.axes[1].factors.size() == 1 && logits.dtype == DType::F32,
            "logits must be batch × vocabulary float32, not " + logits.describe());
  const Axis& batch = logits.axes[0];
  const TensorSpec &picked = c.input(kPicked), &stream = c.input(kStream);
  c.require(picked.axes.size() == 1 && picked.axes[0].fits(batch) && picked.dtype == DType::I32,
            "picked must be int32 over the batch, not " + picked.describe());
  c.require(stream.axes.size() == 2 && stream.axes[0].fits(batch) && stream.axes[1].physical() == 2 &&
                stream.dtype == DType::I64,
            "stream must be batch × 2 int64, not " + stream.describe());
  for (int state = kLogProb; state <= kTopLogProbs; ++state) {
    if (!c.has(state)) continue;
    const TensorSpec& spec = c.input(state);
    c.require(spec.axes.size() == (state == kLogProb ? 2u : 3u) && spec.axes[0].physical() == kMostVisit &&
                  spec.axes[1].fits(batch),
              "what is kept must be visit × batch (× likeliest), not " + spec.describe());
    c.output(state - kLogProb, spec);
  }
  c.require(c.has(kTopTokens) == c.has(kTopLogProbs), "topTokens and topLogProbs belong together");
}

// A pass for the maximum, one for the sum, one for each of the likeliest.
Cost tokenLogProbsCost(const CallShape& c) {
  const double likeliest = c.inputs[4] ? static_cast<double>(c.inputs[4]->axes[2].physical()) : 0.0;
  return {.vectorFlops = (6.0 + likeliest) * c.inputs[0]->physicalElements(),
          .extraBytes = (1 + likeliest) * static_cast<double>(c.inputs[0]->bytes())};
}

}  // namespace

void register_token_log_probs(OperationRegistry& registry) {
  // Of each row that picked a token: log softmax(logits) of it and of the largest logits, the lower id first
  // among equals, at the place of the token it drew last. With the attribute `asTheyAre` the logits
  // themselves.
  registry.add({.name = "token_log_probs",
                .inputs = {"logits", "picked", "stream", "logProb*", "topTokens*?", "topLogProbs*?"},
                .outputs = {"logProb*", "topTokens*?", "topLogProbs*?"},
                .infer = inferTokenLogProbs,
                .cost = tokenLogProbsCost});
}

}  // namespace tesserae
