#include "compiler/request.h"

#include <type_traits>

#include "ops/sampling.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

constexpr int64_t kMostRows = 1 << 24;  // and positions of a row

int64_t extent(const Json& json, const char* name) {
  return integerField(json, name, "request", 1, kMostRows);
}

std::vector<std::string> textList(const Json& json, const char* name, size_t most) {
  std::vector<std::string> list;
  for (const Json& entry : arrayField(json, name, "request", most)) {
    if (!entry.is_string()) fail(ErrorCode::Config, "request.%s must hold strings", name);
    list.push_back(entry.get<std::string>());
  }
  return list;
}

// The fields that training and evaluation both have.
template <class Request>
Request forwardRequest(const Json& json) {
  Request request;
  request.capacity = parseCapacity(json, "request");
  if (json.contains("outputs")) request.outputs = textList(json, "outputs", 64);
  request.rewrite = flagField(json, "rewrite", "request", true);
  return request;
}

TrainRequest trainRequest(const Json& json) {
  onlyKeys(json, "request",
           {"mode", "rows", "lengths", "documents", "outputs", "labelSmoothing", "outputGradients",
            "gradientsOf", "rewrite"});
  TrainRequest request = forwardRequest<TrainRequest>(json);
  if (json.contains("labelSmoothing"))
    request.labelSmoothing = numberField(json, "labelSmoothing", "request");
  if (request.labelSmoothing < 0 || request.labelSmoothing >= 1) {
    fail(ErrorCode::Config, "request.labelSmoothing is %g; it must be at least 0 and less than 1",
         request.labelSmoothing);
  }
  if (json.contains("outputGradients")) {
    const Json& given = objectField(json, "outputGradients", "request");
    for (const auto& [output, input] : given.items())
      request.outputGradients[output] = textField(given, output.c_str(), "request.outputGradients");
  }
  if (json.contains("gradientsOf")) request.gradientsOf = textList(json, "gradientsOf", 64);
  return request;
}

}  // namespace

std::string Capacity::describe() const {
  std::string text = std::to_string(rows) + " rows";
  for (const auto& [axis, length] : lengths) text += " × " + std::to_string(length) + " " + axis;
  return text;
}

Capacity parseCapacity(const Json& json, const std::string& where) {
  Capacity capacity;
  capacity.rows = integerField(json, "rows", where, 1, kMostRows);
  const Json& lengths = objectField(json, "lengths", where);
  for (const auto& [axis, length] : lengths.items())
    capacity.lengths[axis] = integerField(lengths, axis.c_str(), where + ".lengths", 1, kMostRows);
  capacity.documents = flagField(json, "documents", where, false);
  return capacity;
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

ProgramRequest parseRequest(const Json& json) {
  const std::string mode = textField(json, "mode", "request");
  if (mode == "train") return trainRequest(json);
  if (mode == "eval") {
    onlyKeys(json, "request", {"mode", "rows", "lengths", "documents", "outputs", "rewrite"});
    return forwardRequest<EvalRequest>(json);
  }
  if (mode == "prefill") {
    onlyKeys(json, "request", {"mode", "rows", "time", "cache"});
    return PrefillRequest{extent(json, "rows"), extent(json, "time"), extent(json, "cache")};
  }
  if (mode == "decode") {
    onlyKeys(json, "request", {"mode", "rows", "cache"});
    return DecodeRequest{extent(json, "rows"), extent(json, "cache")};
  }
  fail(ErrorCode::Config, "request.mode '%s' is unknown: use train, eval, prefill or decode", mode.c_str());
}

Capacity capacityOf(const ProgramRequest& request) {
  return std::visit(
      [](const auto& of) -> Capacity {
        using Request = std::decay_t<decltype(of)>;
        if constexpr (std::is_same_v<Request, TrainRequest> || std::is_same_v<Request, EvalRequest>) {
          return of.capacity;
        } else if constexpr (std::is_same_v<Request, UpdateRequest>) {
          return {};
        } else {
          return {of.rows};
        }
      },
      request);
}

}  // namespace tesserae
