// Sampling: sequences that grow token by token.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "engine/model.h"

namespace tesserae {

// What choosing tokens found.
struct Visit {
  std::vector<int32_t> tokens;    // (steps, rows); -1 where a row had finished
  std::vector<int32_t> finished;  // (rows): Finish, after the visit
  // With features.logProbs: of each token, and (steps, rows, k) likeliest tokens with theirs.
  std::vector<float> logProbs;
  std::vector<int32_t> topTokens;
  std::vector<float> topLogProbs;
};

// Sequences that are being sampled from a model, which must outlive the session. Prompts are read by prefill;
// then decode chooses tokens, running the model between them. All rows choose together; one that has finished
// stays as it is.
class Session {
 public:
  // options: {rows, cache, seeds, sequences, drawn, settings, endTokens, stopTokens, features} as JSON, by
  // row where a row has its own; arrays: known and bias (V) float32; sets (n, ⌈V/32⌉) and setAt (rows, cache
  // + 1) int32 with features.sets; past (n) and pastLengths (rows) int32, which penalties take for tokens
  // before the prompt; for a model with types, typesOf (V) and typesAt (rows, cache) int32, and so for
  // subtypes: ops/token_types. Throws ERR_CONFIG.
  Session(std::shared_ptr<Model> model, std::string_view options, const HostBatch& arrays);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  // Reads the next piece of each row's prompt: rows × time tokens; only the first lengths[row] count.
  void prefill(DeviceContext& context, const HostBatch& inputs, const std::vector<int32_t>& lengths);
  // Runs the model on the tokens chosen last, so that the next choice need not wait for it. Does nothing if
  // that is done already. The device may still be at work when it returns.
  void forward(DeviceContext& context);
  // Chooses `steps` tokens of each row, at most kMostVisit. mask: rows × ⌈V/32⌉ words, empty without
  // features.mask.
  Visit decode(DeviceContext& context, int64_t steps, const std::vector<uint32_t>& mask);
  // Continues rows as copies of others: row i from row parents[i], which must have as many positions, with
  // tokens[i] in place of the token chosen last. A row that had ended runs again.
  void redirect(const std::vector<int32_t>& parents, const std::vector<int32_t>& tokens);
  int64_t rows() const { return rows_; }
  int64_t logProbs() const { return features_.logProbs; }

 private:
  DecodeRequest decodeRequest() const { return {rows_, capacity_}; }
  ChooseRequest chooseRequest() const { return {rows_, capacity_, features_}; }
  const Program& program(const ProgramRequest& request) const {
    return model_->programs().find(request).program;
  }
  Bases basesFor(DeviceContext& context, const Program& program, int64_t positions);
  const Value& value(const char* name) const;
  char* place(const char* name) const { return memory_.data() + value(name).offset; }
  void writePast(const HostBatch& arrays);
  void writeTokens();
  template <class T>
  void write(const char* name, const std::vector<T>& values) {
    model_->device().write(place(name), values.data(), static_cast<int64_t>(values.size() * sizeof(T)));
  }
  template <class T>
  std::vector<T> read(const char* name, int64_t count) const {
    std::vector<T> values(static_cast<size_t>(count));
    model_->device().read(values.data(), place(name), count * static_cast<int64_t>(sizeof(T)));
    return values;
  }

  std::shared_ptr<Model> model_;
  int64_t rows_, capacity_;
  SamplingFeatures features_;
  DeviceArena memory_, cache_, slab_;  // slab: rows of one layer and page, while they change places
  // Where penalties or n-grams need them: tokens of each row before those in the cache, and in the cache.
  std::vector<std::vector<int32_t>> past_, tokens_;
  std::vector<int64_t> stream_;     // (rows, {key of its random numbers, tokens drawn})
  std::vector<int32_t> positions_;  // that each row has in the cache, the pending ones included
  std::vector<int32_t> finished_;   // Finish of each row, after the last visit
  bool started_ = false, chose_ = false;
  bool pending_ = false;  // logits that nothing was chosen from
};

}  // namespace tesserae
