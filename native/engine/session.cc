#include "engine/session.h"

#include "compiler/json.h"
#include "runtime/error.h"

namespace tesserae {

Session::Session(std::shared_ptr<Model> model, std::string_view text) : model_(std::move(model)) {
  const Json json = parseJson(text, "the session's options");
  onlyKeys(json, "session", {"rows", "cache", "temperatures", "seeds"});
  rows_ = integerField(json, "rows", "session", 1, 1 << 20);
  cache_ = integerField(json, "cache", "session", 1, 1 << 24);
  const Json& temperatures = arrayField(json, "temperatures", "session", 1 << 20);
  const Json& seeds = arrayField(json, "seeds", "session", 1 << 20);
  if (static_cast<int64_t>(temperatures.size()) != rows_ || static_cast<int64_t>(seeds.size()) != rows_) {
    fail(ErrorCode::Config,
         "session.temperatures and session.seeds must have one entry for each of %lld rows",
         static_cast<long long>(rows_));
  }
  ProgramRequest request;
  request.mode = Mode::Decode;
  request.rows = rows_;
  request.cache = cache_;
  const Program& decode = model_->program(request);
  requireMemory(*model_->device_, decode.sessionBytes, "the sampler's keys and values",
                "use fewer rows or a shorter cache");
  memory_.reserve(*model_->device_, decode.sessionBytes);
  positions_.assign(static_cast<size_t>(rows_), 0);
  std::vector<float> degrees;
  std::vector<int64_t> streams;
  for (int64_t row = 0; row < rows_; ++row) {
    const Json& temperature = temperatures[static_cast<size_t>(row)];
    const Json& seed = seeds[static_cast<size_t>(row)];
    if (!temperature.is_number() || !(temperature.get<double>() >= 0) || !seed.is_number_integer()) {
      fail(ErrorCode::Config, "session.temperatures must be numbers of at least 0, session.seeds integers");
    }
    degrees.push_back(temperature.get<float>());
    streams.insert(streams.end(), {seed.get<int64_t>(), 0});
  }
  model_->device_->write(place(decode, "temperature"), degrees.data(), rows_ * 4);
  model_->device_->write(place(decode, "stream"), streams.data(), rows_ * 16);
}

char* Session::place(const Program& program, const char* name) const {
  for (const Value& value : program.values) {
    if (value.arena == Arena::Session && value.name == name) return memory_.data() + value.offset;
  }
  fail(ErrorCode::Internal, "the session has no '%s'", name);
}

std::vector<int32_t> Session::step(DeviceContext& context, const Program& program) {
  Bases bases = model_->bases();
  prepare(context, program, bases);
  bases[static_cast<int>(Arena::Session)] = memory_.data();
  execute(*model_->device_, program, bases, model_->options_.threads, false);
  std::vector<int32_t> next(static_cast<size_t>(rows_));
  model_->device_->read(next.data(), place(program, "next"), rows_ * 4);
  for (int64_t row = 0; row < rows_; ++row) {
    if (next[static_cast<size_t>(row)] < 0) {
      fail(ErrorCode::Data,
           "row %lld: no token can be chosen: none is allowed, or no logit of those is finite",
           static_cast<long long>(row));
    }
  }
  return next;
}

std::vector<int32_t> Session::prefill(DeviceContext& context, const HostTensor& tokens,
                                      const std::vector<int32_t>& lengths) {
  if (static_cast<int64_t>(lengths.size()) != rows_ || tokens.elements() == 0 ||
      tokens.elements() % rows_ != 0) {
    fail(ErrorCode::Data, "a prompt must be %lld rows of equal capacity with a length each",
         static_cast<long long>(rows_));
  }
  ProgramRequest request;
  request.mode = Mode::Prefill;
  request.rows = rows_;
  request.time = tokens.elements() / rows_;
  request.cache = cache_;
  const Program& program = model_->program(request);
  for (int64_t row = 0; row < rows_; ++row) {
    const int32_t length = lengths[static_cast<size_t>(row)], start = positions_[static_cast<size_t>(row)];
    if (length < 1 || length > request.time || start + length > cache_) {
      fail(ErrorCode::Data, "row %lld: a prompt of %d tokens after %d does not fit a cache of %lld positions",
           static_cast<long long>(row), length, start, static_cast<long long>(cache_));
    }
  }
  Bases bases = model_->bases();
  prepare(context, program, bases);
  const HostBatch batch = {{"tokens", tokens}};
  checkBatch(program, model_->graph_, batch);
  model_->upload(program, batch, bases);
  model_->device_->write(place(program, "lengths"), lengths.data(), rows_ * 4);
  for (size_t row = 0; row < lengths.size(); ++row) positions_[row] += lengths[row];
  started_ = true;
  return step(context, program);
}

std::vector<int32_t> Session::decode(DeviceContext& context, int64_t steps) {
  if (!started_) fail(ErrorCode::Data, "decode before prefill: a sequence needs a first token");
  ProgramRequest request;
  request.mode = Mode::Decode;
  request.rows = rows_;
  request.cache = cache_;
  const Program& program = model_->program(request);
  std::vector<int32_t> all;
  for (int64_t i = 0; i < steps; ++i) {
    for (int64_t row = 0; row < rows_; ++row) {
      if (positions_[static_cast<size_t>(row)]++ >= cache_) {
        fail(ErrorCode::Data, "row %lld: the cache of %lld positions is full", static_cast<long long>(row),
             static_cast<long long>(cache_));
      }
    }
    const std::vector<int32_t> next = step(context, program);
    all.insert(all.end(), next.begin(), next.end());
  }
  return all;
}

}  // namespace tesserae
