// What a sampler keeps, and the calls that choose a token.
#include "compiler/passes.h"
#include "ops/sampling.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

// The vocabulary: the last axis of the weight that makes the logits.
const Axis& vocabularyOf(const Ir& ir) {
  const auto it = ir.graph.outputs.find("logits");
  if (it == ir.graph.outputs.end())
    fail(ErrorCode::Config, "the graph '%s' has no output 'logits'", ir.graph.name.c_str());
  for (const GraphNode& node : ir.graph.nodes) {
    const auto weight = node.inputs.find("weight");
    if (node.name != it->second || weight == node.inputs.end()) continue;
    if (const ParameterSlot* slot = ir.layout.find(weight->second)) return slot->spec.axes[0];
  }
  fail(ErrorCode::Config, "%s: only logits of a linear layer can be sampled", it->second.c_str());
}

}  // namespace

void makeSession(Ir& ir, int64_t rows, int64_t cache, const SamplingFeatures& features) {
  const Axis batch{"batch", {{rows, rows, FactorRole::Batch}}};
  const Axis one{"time", {{1, 1, FactorRole::Length}}};
  const Axis& vocabulary = vocabularyOf(ir);
  const Axis words = countAxis("words", maskWords(vocabulary.logical()));
  const Axis visit = countAxis("visit", kMostVisit);
  // The positions of tokens: one more than the cache has, for a row's last token, which is never read.
  const Axis positions = countAxis("positions", cache + 1);
  const auto keep = [&](const char* name, Axes axes, DType type) {
    ir.session(name, {std::move(axes), type});
  };
  keep("stream", {batch, countAxis("fields", 2)}, DType::I64);  // seed, tokens drawn
  keep("start", {batch}, DType::I32);                           // positions in the cache
  keep("lengths", {batch}, DType::I32);                         // positions to come into it
  keep("finished", {batch}, DType::I32);                        // Finish
  keep("chosen", {visit, batch}, DType::I32);                   // by tokens drawn, modulo the visit
  ir.sessionReport = ir.sessionBytes;
  keep("next", {batch, one}, DType::I32);
  keep("settings", {batch, countAxis("settings", kSettings)}, DType::F32);
  keep("stops", {countAxis("kinds", 2), words}, DType::U32);  // end tokens, stop tokens
  keep("logits", {batch, vocabulary}, DType::F32);
  for (const std::string name : {"types", "subtypes"}) {
    if (!ir.graph.findInput(name)) continue;
    keep((name + "Of").c_str(), {countAxis("ids", vocabulary.logical())}, DType::I32);
    keep((name + "At").c_str(), {batch, countAxis("positions", cache)}, DType::I32);
  }
  if (features.known) keep("known", {vocabulary}, DType::F32);
  if (features.bias) keep("bias", {vocabulary}, DType::F32);
  if (features.mask) keep("mask", {batch, words}, DType::U32);
  if (features.sets > 0) {
    keep("setAt", {batch, positions}, DType::I32);
    keep("sets", {countAxis("sets", features.sets), words}, DType::U32);
  }
  if (features.penalties) keep("counts", {batch, vocabulary}, DType::U32);
  if (features.ngrams) keep("history", {batch, positions}, DType::I32);
  if (features.logProbs >= 0) keep("logProb", {visit, batch}, DType::F32);
  if (features.logProbs > 0) {
    keep("topTokens", {visit, batch, countAxis("likeliest", features.logProbs)}, DType::I32);
    keep("topLogProbs", {visit, batch, countAxis("likeliest", features.logProbs)}, DType::F32);
  }
}

void lowerChoose(Ir& ir, const ChooseRequest& request) {
  const SamplingFeatures& features = request.features;
  makeSession(ir, request.rows, request.cache, features);
  const auto when = [&](bool wanted, const char* name) { return wanted ? ir.stateValue(name) : kAbsent; };
  const ValueId settings = ir.stateValue("settings"), start = ir.stateValue("start");
  const ValueId stops = ir.stateValue("stops"), stream = ir.stateValue("stream");
  const ValueId lengths = ir.stateValue("lengths");
  ValueId logits = ir.stateValue("logits"), threshold = kAbsent;
  if (features.known) {
    logits = ir.emit("score_tokens", "known_tokens", "known_tokens",
                     {logits, settings, stream, start, lengths, ir.stateValue("known"), kAbsent, kAbsent,
                      kAbsent, kAbsent, kAbsent, kAbsent},
                     {})[0];
  }
  if (features.beams) logits = ir.emit("log_softmax", "log_softmax", "log_softmax", {logits}, {})[0];
  ValueId scores = logits;
  if (features.scores()) {
    scores = ir.emit(
        "score_tokens", "score_tokens", "score_tokens",
        {logits, settings, stream, start, lengths, when(features.bias, "bias"), when(features.mask, "mask"),
         when(features.sets > 0, "setAt"), when(features.sets > 0, "sets"), when(features.minimum, "stops"),
         when(features.penalties, "counts"), when(features.ngrams, "history")},
        {})[0];
  }
  if (features.filter)
    threshold = ir.emit("filter_tokens", "filter_tokens", "filter_tokens", {scores, settings}, {})[0];
  const ValueId counts = when(features.penalties && !features.beams, "counts");
  const ValueId history = when(features.ngrams && !features.beams, "history");
  std::vector<ValueId> inputs = {scores, settings, stops, threshold};
  std::vector<ValueId> outputs = {kNew};
  for (const char* name : {"stream", "start", "lengths", "finished", "next", "chosen"}) {
    inputs.push_back(ir.stateValue(name));
    outputs.push_back(ir.stateValue(name));
  }
  for (ValueId optional : {counts, history}) {
    inputs.push_back(optional);
    outputs.push_back(optional);
  }
  const ValueId picked =
      ir.emit("choose", "choose", "choose", inputs, Attributes{}.with("cache", request.cache), outputs)[0];
  if (features.logProbs < 0) return;
  ir.emit("token_log_probs", "token_log_probs", "token_log_probs",
          {features.beams ? scores : logits, picked, stream}, Attributes{}.with("asTheyAre", features.beams),
          {ir.stateValue("logProb"), when(features.logProbs > 0, "topTokens"),
           when(features.logProbs > 0, "topLogProbs")});
}

}  // namespace tesserae
