// The type of each row's next token, for models that embed types beside tokens.
#include "ops/registry.h"

namespace tesserae {

namespace {

void inferTokenTypes(InferContext& c) {
  enum { kTokens, kStart, kOf, kAt };
  const TensorSpec &tokens = c.input(kTokens), &start = c.input(kStart), &of = c.input(kOf),
                   &at = c.input(kAt);
  c.require(tokens.axes.size() == 2 && tokens.axes[1].physical() == 1 && tokens.dtype == DType::I32,
            "tokens must be batch × 1 int32, not " + tokens.describe());
  c.require(start.axes.size() == 1 && start.axes[0].fits(tokens.axes[0]) && start.dtype == DType::I32,
            "start must be int32 with the batch axis of tokens, not " + start.describe());
  c.require(of.axes.size() == 1 && of.dtype == DType::I32,
            "of must have a type for each token id, not " + of.describe());
  c.require(at.axes.size() == 2 && at.axes[0].fits(tokens.axes[0]) && at.dtype == DType::I32,
            "at must be batch × positions int32, not " + at.describe());
  c.output(0, tokens);
}

}  // namespace

void register_token_types(OperationRegistry& registry) {
  // types[b] = at[b, start[b]], or where that is below 0, of[tokens[b]]
  registry.add({.name = "token_types",
                .inputs = {"tokens", "start", "of", "at"},
                .outputs = {"types"},
                .infer = inferTokenTypes});
}

}  // namespace tesserae
