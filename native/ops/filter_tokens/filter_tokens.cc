// The smallest score that topK, topP and minP leave to a row's draw.
#include "ops/registry.h"
#include "ops/sampling.h"

namespace tesserae {

namespace {

void inferFilterTokens(InferContext& c) {
  enum { kScores, kRowSettings };
  const TensorSpec &scores = c.input(kScores), &settings = c.input(kRowSettings);
  c.require(scores.axes.size() == 2 && scores.axes[1].factors.size() == 1 && scores.dtype == DType::F32,
            "scores must be batch × vocabulary float32, not " + scores.describe());
  c.require(settings.axes.size() == 2 && settings.axes[0].fits(scores.axes[0]) &&
                settings.axes[1].physical() == kSettings && settings.dtype == DType::F32,
            "settings must be batch × " + std::to_string(kSettings) + " float32, not " + settings.describe());
  c.output(0, {{scores.axes[0]}, DType::F32});
}

// The maximum, then up to four passes for each of topK and topP.
Cost filterTokensCost(const CallShape& c) {
  return {.vectorFlops = 40.0 * c.inputs[0]->physicalElements(),
          .extraBytes = 8.0 * static_cast<double>(c.inputs[0]->bytes())};
}

}  // namespace

void register_filter_tokens(OperationRegistry& registry) {
  // threshold: the largest of three. topK: the k-th largest score. topP (Holtzman et al. 2020, "The Curious
  // Case of Neural Text Degeneration", section 3.1), over what topK leaves: the smallest score whose more
  // probable tokens together have less than topP of the probability. minP (Nguyen et al. 2024): max +
  // temperature * log(minP). Equal scores are kept or dropped together. -inf where temperature is 0 and where
  // nothing is filtered.
  registry.add({.name = "filter_tokens",
                .inputs = {"scores", "settings"},
                .outputs = {"threshold"},
                .infer = inferFilterTokens,
                .cost = filterTokensCost});
}

}  // namespace tesserae
