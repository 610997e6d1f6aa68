#include "compiler/compile.h"

#include "compiler/passes.h"
#include "ops/sampling.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

std::vector<std::string> textList(const Json& json, const char* name, size_t most) {
  std::vector<std::string> list;
  for (const Json& entry : arrayField(json, name, "request", most)) {
    if (!entry.is_string()) fail(ErrorCode::Config, "request.%s must hold texts", name);
    list.push_back(entry.get<std::string>());
  }
  return list;
}

Mode parseMode(const std::string& name) {
  for (Mode mode : {Mode::Train, Mode::Eval, Mode::Prefill, Mode::Decode}) {
    if (name == modeName(mode)) return mode;
  }
  fail(ErrorCode::Config, "request.mode '%s' is unknown: use train, eval, prefill or decode", name.c_str());
}

}  // namespace

const char* modeName(Mode mode) {
  static const char* const names[] = {"train", "update", "eval", "prefill", "decode", "choose"};
  return names[static_cast<int>(mode)];
}

SamplingFeatures SamplingFeatures::parse(const Json& json) {
  const char* const where = "features";
  onlyKeys(
      json, where,
      {"known", "bias", "mask", "sets", "minimum", "penalties", "ngrams", "filter", "beams", "logProbs"});
  SamplingFeatures features;
  features.known = flagField(json, "known", where, false);
  features.bias = flagField(json, "bias", where, false);
  features.mask = flagField(json, "mask", where, false);
  if (json.contains("sets")) features.sets = integerField(json, "sets", where, 0, kMostSets);
  features.minimum = flagField(json, "minimum", where, false);
  features.penalties = flagField(json, "penalties", where, false);
  features.ngrams = flagField(json, "ngrams", where, false);
  features.filter = flagField(json, "filter", where, false);
  features.beams = flagField(json, "beams", where, false);
  if (json.contains("logProbs")) features.logProbs = integerField(json, "logProbs", where, -1, kMostLogProbs);
  return features;
}

std::string SamplingFeatures::key() const {
  std::string text;
  for (bool flag : {known, bias, mask, minimum, penalties, ngrams, filter, beams}) text += flag ? '1' : '0';
  return text + " " + std::to_string(sets) + " " + std::to_string(logProbs);
}

ProgramRequest ProgramRequest::parse(const Json& json) {
  onlyKeys(json, "request",
           {"mode", "rows", "time", "documents", "outputs", "labelSmoothing", "cache", "seeds", "gradientsOf",
            "rewrite"});
  ProgramRequest request;
  request.mode = parseMode(textField(json, "mode", "request"));
  request.rows = integerField(json, "rows", "request", 1, 1 << 24);
  request.time = integerField(json, "time", "request", 1, 1 << 24);
  request.documents = flagField(json, "documents", "request", false);
  if (json.contains("outputs")) request.outputs = textList(json, "outputs", 64);
  if (json.contains("labelSmoothing"))
    request.labelSmoothing = numberField(json, "labelSmoothing", "request");
  if (request.labelSmoothing < 0 || request.labelSmoothing >= 1) {
    fail(ErrorCode::Config, "request.labelSmoothing is %g; it must be at least 0 and less than 1",
         request.labelSmoothing);
  }
  if (json.contains("cache")) request.cache = integerField(json, "cache", "request", 1, 1 << 24);
  if (json.contains("seeds")) {
    for (const auto& [output, input] : objectField(json, "seeds", "request").items()) {
      request.seeds[output] = textField(json["seeds"], output.c_str(), "request.seeds");
    }
  }
  if (json.contains("gradientsOf")) request.gradientsOf = textList(json, "gradientsOf", 64);
  request.rewrite = flagField(json, "rewrite", "request", true);
  return request;
}

std::string ProgramRequest::key() const {
  std::string text = std::string(modeName(mode)) + " " + std::to_string(rows) + "x" + std::to_string(time) +
                     " cache " + std::to_string(cache) + " " + sampling.key() + " smoothing " +
                     Json(labelSmoothing).dump() + (rewrite ? "" : " plain") +
                     (documents ? " documents" : "");
  for (const std::string& output : outputs) text += " >" + output;
  for (const auto& [output, input] : seeds) text += " " + output + "<" + input;
  for (const std::string& input : gradientsOf) text += " d" + input;
  for (const std::string& parameter : frozen) text += " =" + parameter;
  return text;
}

Program compile(const Graph& graph, const Layout& layout, Precision precision, DeviceKind device, int threads,
                const ProgramRequest& request) {
  Ir ir(graph, layout, precision, device);
  if (request.mode == Mode::Update) {
    lowerUpdate(ir, request);
  } else if (request.mode == Mode::Choose) {
    lowerChoose(ir, request);
  } else {
    lower(ir, request);
    if (request.mode == Mode::Train) differentiate(ir, request);
    removeDeadNodes(ir);
    if (request.rewrite) rewrite(ir);
    removeDeadNodes(ir);
    schedule(ir);
  }
  assignWrites(ir);
  return planMemory(ir, request, threads);
}

}  // namespace tesserae
