// What a Program is compiled for: a struct for each mode, with the fields that this mode has. Two requests
// are equal when they are of one mode and all their fields are; the compiler generates that from the fields,
// and a model's ProgramCache goes by it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "compiler/json.h"
#include "ops/attributes.h"

namespace tesserae {

// How several ranks train one model. Ddp: each has the whole State, and gradients are added up.
enum class Strategy : uint8_t { Ddp };

// The batches that a Program takes.
struct Capacity {
  int64_t rows = 1;
  std::map<std::string, int64_t> lengths;  // positions along each of the Graph's length axes, by name
  bool documents = false;                  // reads the Graph's optional inputs
  bool operator==(const Capacity&) const = default;

  std::string describe() const;  // "8 rows × 128 time"
};

// Reads { rows, lengths, documents? }. Throws ERR_CONFIG.
Capacity parseCapacity(const Json& json, const std::string& where);

// Loss and gradients. lib/native.ts documents the fields of this request and of EvalRequest.
struct TrainRequest {
  Capacity capacity;
  std::vector<std::string> outputs;  // empty: the Graph's losses
  double labelSmoothing = 0;
  std::map<std::string, std::string> outputGradients;  // Graph output → input that is its gradient
  std::vector<std::string> gradientsOf;
  std::set<std::string> frozen;  // parameters that training leaves alone, beside those of the Graph
  bool rewrite = true;
  int64_t world = 1;  // ranks over which the last micro-step adds up gradients and losses; 1: none
  Strategy strategy = Strategy::Ddp;
  bool operator==(const TrainRequest&) const = default;
};

// The outputs named, without dropout or label smoothing.
struct EvalRequest {
  Capacity capacity;
  std::vector<std::string> outputs;  // empty: the Graph's losses
  bool rewrite = true;
  bool operator==(const EvalRequest&) const = default;
};

// The end of an optimizer step.
struct UpdateRequest {
  std::string optimizer;  // the name of its operation
  Attributes optimizerAttributes;
  Attributes lossScaleAttributes;  // empty without loss scaling
  double maxGradNorm = 0;          // 0: no clipping
  double emaDecay = 0;             // 0: no moving average
  int64_t scheduleSteps = 1;
  bool movesMomentum = false;  // the schedule has a momentum (beta 1) for each step beside its rate
  bool operator==(const UpdateRequest&) const = default;

  // Bytes in the Schedule arena: the rates, and from momentaOffset the momenta.
  int64_t momentaOffset() const { return (scheduleSteps * 4 + 63) / 64 * 64; }
  int64_t scheduleBytes() const {
    return movesMomentum ? momentaOffset() + scheduleSteps * 4 : scheduleSteps * 4;
  }
};

// A piece of each row's prompt, into a cache of `cache` positions.
struct PrefillRequest {
  int64_t rows = 1, time = 1, cache = 1;
  bool operator==(const PrefillRequest&) const = default;
};

// One more position of each row.
struct DecodeRequest {
  int64_t rows = 1, cache = 1;
  bool operator==(const DecodeRequest&) const = default;
};

// The features of choosing a token besides the draw. Each costs time and memory, so Programs only do what is
// requested.
struct SamplingFeatures {
  bool known = false;      // some ids are no tokens: they are as if the model had none of them
  bool bias = false;       // a number is added to each token's logit
  bool mask = false;       // the host sets allowed bits before each token
  int64_t sets = 0;        // largest number of sets of allowed tokens by position
  bool minimum = false;    // of new tokens, before which nothing ends a row
  bool penalties = false;  // for tokens that were there: repetition, frequency, presence
  bool ngrams = false;     // none is repeated
  bool filter = false;     // topK, topP, minP
  // Scores start from log-probabilities, and logProbs are those of the scores; the host says which tokens a
  // row has drawn (Session::redirect).
  bool beams = false;
  int64_t logProbs = -1;  // of the chosen token and of this many of the likeliest; -1: none
  bool operator==(const SamplingFeatures&) const = default;

  bool scores() const { return bias || mask || sets > 0 || minimum || penalties || ngrams; }
  static SamplingFeatures parse(const Json& json);  // throws ERR_CONFIG
};

// The next token of each row, from the logits of a prefill or decode Program.
struct ChooseRequest {
  int64_t rows = 1, cache = 1;
  SamplingFeatures features;
  bool operator==(const ChooseRequest&) const = default;
};

using ProgramRequest =
    std::variant<EvalRequest, TrainRequest, UpdateRequest, PrefillRequest, DecodeRequest, ChooseRequest>;

// Reads { mode: 'train', 'eval', 'prefill' or 'decode', … } with the fields of that mode. Throws ERR_CONFIG.
ProgramRequest parseRequest(const Json& json);

// What a Program of this request computes. Those of sampling and the update have no length axes here.
Capacity capacityOf(const ProgramRequest& request);

}  // namespace tesserae
