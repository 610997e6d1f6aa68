// The next token of each row, by the Gumbel-max trick (Gumbel 1954; Maddison et al. 2014, "A* sampling",
// section 2): argmax_v of logits[v] / temperature + g_v, g_v standard Gumbel, is a sample of softmax(logits /
// temperature).
#include "ops/registry.h"

namespace tesserae {

namespace {

void inferChoose(InferContext& c) {
  enum { kLogits, kTemperature, kStream, kStart, kLengths, kMask };
  const TensorSpec& logits = c.input(kLogits);
  c.require(logits.axes.size() == 2 && logits.axes[1].factors.size() == 1,
            "logits must be batch × vocabulary, not " + logits.describe());
  const Axis& batch = logits.axes[0];
  for (int vector : {kTemperature, kStart, kLengths}) {
    c.require(c.input(vector).axes.size() == 1 && c.input(vector).axes[0].fits(batch),
              "temperature, start and lengths must have the batch axis of logits, not " +
                  c.input(vector).describe());
  }
  c.require(c.input(kTemperature).dtype == DType::F32, "temperature must be float32");
  c.require(c.input(kStart).dtype == DType::I32 && c.input(kLengths).dtype == DType::I32,
            "start and lengths must be int32");
  const TensorSpec& stream = c.input(kStream);
  c.require(stream.axes.size() == 2 && stream.axes[0].fits(batch) && stream.axes[1].physical() == 2 &&
                stream.dtype == DType::I64,
            "stream must be batch × {seed, step} int64, not " + stream.describe());
  if (c.has(kMask)) {
    const TensorSpec& mask = c.input(kMask);
    c.require(mask.axes.size() == 2 && mask.axes[0].fits(batch) &&
                  mask.axes[1].physical() == (logits.axes[1].logical() + 31) / 32 && mask.dtype == DType::U32,
              "mask must be batch × ⌈vocabulary / 32⌉ uint32, not " + mask.describe());
  }
  c.output(0, {{batch, countAxis("token", 1)}, DType::I32});
  c.output(1, stream);
  c.output(2, c.input(kStart));
  c.output(3, c.input(kLengths));
}

// A quarter of Philox, two logarithms and the comparison for each token id.
Cost chooseCost(const CallShape& c) { return {.vectorFlops = 80.0 * c.inputs[0]->physicalElements()}; }

}  // namespace

void register_choose(OperationRegistry& registry) {
  // Temperature 0 takes the largest logit, the lowest id among equals. A row whose mask allows no id gets -1.
  // The session moves on by one token: step += 1, start += lengths, lengths = 1. A row's tokens depend on no
  // other row.
  registry.add({.name = "choose",
                .inputs = {"logits", "temperature", "stream*", "start*", "lengths*", "mask?"},
                .outputs = {"next", "stream*", "start*", "lengths*"},
                .infer = inferChoose,
                .cost = chooseCost});
}

}  // namespace tesserae
