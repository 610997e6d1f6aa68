// defines: ProgramRequest, Mode, Call, Program
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "compiler/ir.h"
#include "compiler/json.h"
#include "ops/kernel.h"

namespace tesserae {

enum class Mode : uint8_t { Train, Update, Eval, Prefill, Decode, Choose };
const char* modeName(Mode mode);

// What choosing a token takes beside a draw; each costs time and memory, so Programs do what is asked for
// alone.
struct SamplingFeatures {
  bool known = false;      // some ids are no tokens: they are as if the model had none of them
  bool bias = false;       // a number is added to each token's logit
  bool mask = false;       // the host sets allowed bits before each token
  int64_t sets = 0;        // of allowed tokens by position, at most so many
  bool minimum = false;    // of new tokens, before which nothing ends a row
  bool penalties = false;  // for tokens that were there: repetition, frequency, presence
  bool ngrams = false;     // none is repeated
  bool filter = false;     // topK, topP, minP
  // Scores start from log-probabilities, and logProbs are those of the scores; the host says which tokens a
  // row has drawn (Session::redirect).
  bool beams = false;
  int64_t logProbs = -1;  // of the token chosen and of so many of the likeliest; -1: none

  bool scores() const { return bias || mask || sets > 0 || minimum || penalties || ngrams; }
  static SamplingFeatures parse(const Json& json);  // throws ERR_CONFIG
  std::string key() const;
};

// What a Program is compiled for: lib/native.ts documents the fields.
struct ProgramRequest {
  Mode mode = Mode::Eval;
  int64_t rows = 1, time = 1;
  bool documents = false;  // reads the Graph's optional inputs
  std::vector<std::string> outputs = {"loss"};
  double labelSmoothing = 0;
  int64_t cache = 0;
  SamplingFeatures sampling;                 // Choose only
  std::map<std::string, std::string> seeds;  // Graph output → input that is its gradient
  std::vector<std::string> gradientsOf;
  std::set<std::string> frozen;  // parameters that training leaves alone, beside those of the Graph
  bool rewrite = true;
  // Update only.
  std::string optimizer;
  Attributes optimizerAttributes;
  Attributes lossScaleAttributes;  // empty without loss scaling
  double maxGradNorm = 0;
  int64_t scheduleSteps = 1;
  bool movesMomentum = false;  // the schedule has a momentum (beta 1) for each step beside its rate
  double emaDecay = 0;         // 0: no moving average

  static ProgramRequest parse(const Json& json);  // throws ERR_CONFIG
  std::string key() const;                        // equal for equal requests
  // Bytes in the Schedule arena: the rates, and from momentaOffset the momenta.
  int64_t momentaOffset() const { return (scheduleSteps * 4 + 63) / 64 * 64; }
  int64_t scheduleBytes() const {
    return movesMomentum ? momentaOffset() + scheduleSteps * 4 : scheduleSteps * 4;
  }
};

// One operation call of a Program: values by index, memory by plan.
struct Call {
  const Operation* op;
  std::string name;
  uint64_t site;
  std::vector<ValueId> inputs, outputs;
  std::vector<WriteMode> writes;
  Attributes attributes;
  int64_t scratchOffset = 0, scratchBytes = 0;  // in the workspace
  Cost cost;
  int64_t bytes = 0;  // read and written
};

// A flat list of calls over values whose places are known: offsets in arenas, never memory.
struct Program {
  ProgramRequest request;
  Precision precision;
  DeviceKind device;
  std::vector<Value> values;
  std::vector<Call> calls;
  std::map<std::string, ValueId> inputs, outputs;
  int64_t inputBytes = 0, outputBytes = 0, workspaceBytes = 0;
  int64_t sessionBytes = 0, sessionReport = 0;  // the first bytes of a session are read by the host
};

}  // namespace tesserae
