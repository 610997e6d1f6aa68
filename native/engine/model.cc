#include "engine/model.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "compiler/options.h"
#include "engine/initialize.h"
#include "ops/registry.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

constexpr size_t kMostPrograms = 16;  // capacities of training and evaluation together

// An out-of-memory error that tells what the memory would be for and what would make it less.
void requireMemory(int64_t bytes, const char* what, const char* remedy) {
  const int64_t available = availableMemory();
  if (bytes <= available) return;
  constexpr double MiB = 1 << 20;
  fail(ErrorCode::OutOfMemory, "%s need %.0f MiB and %.0f MiB are available; %s", what,
       static_cast<double>(bytes) / MiB, static_cast<double>(available) / MiB, remedy);
}

// The transpose of a dense (rows, columns) matrix, by tiles that stay in cache.
std::vector<float> transpose(const std::vector<float>& values, int64_t rows, int64_t columns) {
  constexpr int64_t kTile = 32;
  std::vector<float> result(values.size());
  for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
    for (int64_t c0 = 0; c0 < columns; c0 += kTile) {
      for (int64_t r = r0; r < std::min(rows, r0 + kTile); ++r) {
        for (int64_t c = c0; c < std::min(columns, c0 + kTile); ++c) {
          result[static_cast<size_t>(c * rows + r)] = values[static_cast<size_t>(r * columns + c)];
        }
      }
    }
  }
  return result;
}

}  // namespace

int defaultThreads() {
  if (const char* limit = std::getenv("OMP_NUM_THREADS"); limit && std::atoi(limit) > 0)
    return std::atoi(limit);
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

ModelOptions ModelOptions::parse(std::string_view text) {
  const Json json = parseJson(text, "the model's options");
  onlyKeys(json, "options", {"device", "precision", "seed", "padding", "threads"});
  ModelOptions options;
  options.device = textField(json, "device", "options");
  if (options.device != "cpu") {
    fail(ErrorCode::Device, "the device '%s' is not available: this build runs on 'cpu'",
         options.device.c_str());
  }
  options.precision = parsePrecision(textField(json, "precision", "options"));
  if (options.precision != Precision::FP32) {
    fail(ErrorCode::Device, "the CPU computes in fp32; precision '%s' needs a GPU",
         precisionName(options.precision));
  }
  options.seed = integerField(json, "seed", "options", 0, int64_t{1} << 53);
  options.padding = parsePadding(json);
  options.threads = json.contains("threads")
                        ? static_cast<int>(integerField(json, "threads", "options", 1, 1024))
                        : defaultThreads();
  return options;
}

TrainingOptions TrainingOptions::parse(std::string_view text, std::vector<float> learningRates) {
  const Json json = parseJson(text, "the training options");
  onlyKeys(json, "training", {"optimizer", "maxGradNorm", "labelSmoothing"});
  const Json& optimizer = objectField(json, "optimizer", "training");
  TrainingOptions options;
  options.optimizer = textField(optimizer, "type", "training.optimizer");
  if (options.optimizer != "adamw") {
    fail(ErrorCode::Config, "training.optimizer.type '%s' is unknown: use adamw", options.optimizer.c_str());
  }
  onlyKeys(optimizer, "training.optimizer", {"type", "beta1", "beta2", "epsilon", "weightDecay"});
  for (const char* name : {"beta1", "beta2", "epsilon", "weightDecay"}) {
    options.optimizerAttributes =
        options.optimizerAttributes.with(name, numberField(optimizer, name, "training.optimizer"));
  }
  options.maxGradNorm = numberField(json, "maxGradNorm", "training");
  options.labelSmoothing = numberField(json, "labelSmoothing", "training");
  if (learningRates.empty()) fail(ErrorCode::Config, "training.learningRates is empty");
  for (size_t i = 0; i < learningRates.size(); ++i) {
    if (!std::isfinite(learningRates[i]) || learningRates[i] < 0) {
      fail(ErrorCode::Config, "training.learningRates[%zu] is %g; a rate must be finite and not negative", i,
           learningRates[i]);
    }
  }
  options.learningRates = std::move(learningRates);
  return options;
}

Model::Model(std::string_view graphText, const ModelOptions& options)
    : options_(options),
      graph_(parseGraph(graphText, options.padding)),
      layout_(makeLayout(graph_)),
      stateLayout_(layout_) {
  requireMemory(layout_.elements * 4 + stateLayout_.bytes, "the parameters", "use a smaller model");
  allocate(Arena::Parameters, layout_.elements * 4);
  allocate(Arena::State, stateLayout_.bytes);
  float* chunks = reinterpret_cast<float*>(arena(Arena::State) + stateLayout_.chunks);
  for (const ParameterSlot& slot : layout_.slots) {
    const std::vector<float> values = drawInitialValues(*slot.parameter, static_cast<uint64_t>(options.seed));
    pack(slot.spec, 4, values.data(), arena(Arena::Parameters) + slot.offset * 4);
    for (int64_t chunk = slot.offset / kChunkElements; chunk < slot.offset / kChunkElements + slot.chunks;
         ++chunk) {
      chunks[2 * chunk] = slot.parameter->decay ? 1.0f : 0.0f;
      chunks[2 * chunk + 1] = slot.parameter->trainable ? 1.0f : 0.0f;
    }
  }
  setCounter(kSeed, options.seed);
}

void Model::allocate(Arena arena, int64_t bytes) { state_[static_cast<int>(arena)].reserve(bytes); }

Bases Model::bases() const {
  Bases bases{};
  for (int i = 0; i < kArenas; ++i) bases[i] = state_[i].data();
  return bases;
}

const Program& Model::program(const ProgramRequest& request) {
  const std::string key = request.key();
  for (auto it = programs_.begin(); it != programs_.end(); ++it) {
    if (it->first != key) continue;
    programs_.splice(programs_.begin(), programs_, it);
    return *programs_.front().second;
  }
  auto compiled = std::make_unique<Program>(
      compile(graph_, layout_, options_.precision, DeviceKind::CPU, options_.threads, request));
  programs_.emplace_front(key, std::move(compiled));
  if (programs_.size() > kMostPrograms) programs_.pop_back();
  return *programs_.front().second;
}

void Model::configureTraining(TrainingOptions options) {
  requireMemory(layout_.elements * 12, "gradients and moments", "use a smaller model");
  ProgramRequest request;
  request.mode = Mode::Update;
  request.optimizer = options.optimizer;
  request.optimizerAttributes = options.optimizerAttributes;
  request.maxGradNorm = options.maxGradNorm;
  request.scheduleSteps = static_cast<int64_t>(options.learningRates.size());
  update_ = std::make_unique<Program>(
      compile(graph_, layout_, options_.precision, DeviceKind::CPU, options_.threads, request));
  for (Arena arena : {Arena::Gradients, Arena::Moment1, Arena::Moment2})
    allocate(arena, layout_.elements * 4);
  allocate(Arena::Schedule, request.scheduleSteps * 4);
  std::memcpy(arena(Arena::Schedule), options.learningRates.data(), options.learningRates.size() * 4);
  training_ = std::move(options);
}

StepResult Model::trainStep(Device& device, int64_t rows, int64_t time,
                            const std::vector<HostBatch>& microBatches) {
  if (!update_) fail(ErrorCode::Internal, "trainStep before configureTraining");
  if (microBatches.empty()) fail(ErrorCode::Data, "an optimizer step needs at least one batch");
  ProgramRequest request;
  request.mode = Mode::Train;
  request.rows = rows;
  request.time = time;
  request.labelSmoothing = training_.labelSmoothing;
  const Program& micro = program(request);
  Bases bases = this->bases();
  prepare(device, micro, bases);
  // Every batch is checked before the first one runs: a bad one must not leave half a step behind.
  for (size_t i = microBatches.size(); i-- > 0;)
    upload(micro, graph_, microBatches[i], bases[static_cast<int>(Arena::Inputs)]);
  const double positions = static_cast<double>(rows * time) * static_cast<double>(microBatches.size());
  *reinterpret_cast<float*>(arena(Arena::State) + stateLayout_.seed) = static_cast<float>(1.0 / positions);
  for (size_t i = 0; i < microBatches.size(); ++i) {
    if (i > 0) upload(micro, graph_, microBatches[i], bases[static_cast<int>(Arena::Inputs)]);
    setCounter(kFirstSample, static_cast<int64_t>(i) * rows);
    execute(micro, bases, options_.threads, i > 0, {}, nullptr, nullptr);
  }
  prepare(device, *update_, bases);
  execute(*update_, bases, options_.threads, false, {}, nullptr, nullptr);
  const double* loss = reinterpret_cast<const double*>(arena(Arena::State) + stateLayout_.loss);
  const float* norm = reinterpret_cast<const float*>(arena(Arena::State) + stateLayout_.norm);
  return {loss[0],
          loss[1],
          norm[0],
          norm[3],
          norm[2],
          static_cast<double>(counter(kAttempted)),
          static_cast<double>(counter(kApplied))};
}

RunResult Model::run(Device& device, const ProgramRequest& request, const HostBatch& batch,
                     const RunOptions& options) {
  if (request.mode == Mode::Prefill || request.mode == Mode::Decode) {
    fail(ErrorCode::Config, "prefill and decode run in a sampling session");
  }
  const Program& compiled = program(request);
  if (request.mode == Mode::Train) allocate(Arena::Gradients, layout_.elements * 4);
  Bases bases = this->bases();
  prepare(device, compiled, bases);
  upload(compiled, graph_, batch, bases[static_cast<int>(Arena::Inputs)]);
  *reinterpret_cast<float*>(arena(Arena::State) + stateLayout_.seed) =
      static_cast<float>(1.0 / static_cast<double>(request.rows * request.time));
  setCounter(kFirstSample, 0);
  RunResult result;
  execute(compiled, bases, options_.threads, false, options, &result.taps, &result.timings);
  for (const auto& [role, id] : compiled.outputs) result.outputs[role] = download(compiled.values[id], bases);
  return result;
}

const ParameterSlot& Model::slot(const std::string& name) const {
  const ParameterSlot* found = layout_.find(name);
  if (!found) fail(ErrorCode::Config, "the model has no parameter '%s'", name.c_str());
  return *found;
}

Arena Model::arenaOf(const std::string& kind) const {
  const std::pair<const char*, Arena> kinds[] = {{"parameter", Arena::Parameters},
                                                 {"gradient", Arena::Gradients},
                                                 {"moment1", Arena::Moment1},
                                                 {"moment2", Arena::Moment2}};
  for (const auto& [name, found] : kinds) {
    if (kind != name) continue;
    if (state_[static_cast<int>(found)].bytes() == 0) {
      fail(ErrorCode::Config, "the model has no %s yet: it has not been trained", name);
    }
    return found;
  }
  fail(ErrorCode::Config, "unknown kind of tensor '%s'", kind.c_str());
}

std::vector<float> Model::readTensor(const std::string& kind, const std::string& name, bool asInFiles) const {
  const ParameterSlot& from = slot(name);
  std::vector<float> values(static_cast<size_t>(from.spec.logicalElements()));
  unpack(from.spec, 4, arena(arenaOf(kind)) + from.offset * 4, values.data());
  if (!asInFiles || !from.parameter->transposedInFiles) return values;
  return transpose(values, from.spec.axes[0].logical(), from.spec.axes[1].logical());
}

void Model::writeTensor(const std::string& kind, const std::string& name, const std::vector<float>& values,
                        bool asInFiles) {
  const ParameterSlot& to = slot(name);
  if (static_cast<int64_t>(values.size()) != to.spec.logicalElements()) {
    fail(ErrorCode::Shape, "%s of '%s' has %lld elements, not %zu", kind.c_str(), name.c_str(),
         static_cast<long long>(to.spec.logicalElements()), values.size());
  }
  char* place = arena(arenaOf(kind)) + to.offset * 4;
  if (asInFiles && to.parameter->transposedInFiles) {
    pack(to.spec, 4, transpose(values, to.spec.axes[1].logical(), to.spec.axes[0].logical()).data(), place);
  } else {
    pack(to.spec, 4, values.data(), place);
  }
}

int64_t Model::counter(Counter which) const {
  return reinterpret_cast<const int64_t*>(arena(Arena::State) + stateLayout_.counters)[which];
}

void Model::setCounter(Counter which, int64_t value) {
  reinterpret_cast<int64_t*>(arena(Arena::State) + stateLayout_.counters)[which] = value;
}

std::string Model::infoJson() const {
  static const char* const isas[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
  Json info = {{"device", options_.device},
               {"precision", precisionName(options_.precision)},
               {"layoutHash", hexHash(layout_.hash)},
               {"threads", options_.threads},
               {"isa", isas[static_cast<int>(cpuIsa())]},
               {"parameters", Json::array()}};
  for (const GraphParameter& parameter : graph_.parameters) {
    Json shape = Json::array(), physical = Json::array();
    for (const Axis& axis : parameter.axes) {
      shape.push_back(axis.logical());
      physical.push_back(axis.physical());
    }
    info["parameters"].push_back({{"name", parameter.name}, {"shape", shape}, {"physicalShape", physical}});
  }
  return info.dump();
}

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
  requireMemory(decode.sessionBytes, "the sampler's keys and values", "use fewer rows or a shorter cache");
  memory_.reserve(decode.sessionBytes);
  for (const Value& value : decode.values) {
    if (value.arena != Arena::Session) continue;
    char* at = memory_.data() + value.offset;
    for (int64_t row = 0; row < rows_; ++row) {
      const Json& temperature = temperatures[static_cast<size_t>(row)];
      const Json& seed = seeds[static_cast<size_t>(row)];
      if (!temperature.is_number() || !(temperature.get<double>() >= 0) || !seed.is_number_integer()) {
        fail(ErrorCode::Config, "session.temperatures must be numbers of at least 0, session.seeds integers");
      }
      if (value.name == "temperature") reinterpret_cast<float*>(at)[row] = temperature.get<float>();
      if (value.name == "stream") reinterpret_cast<int64_t*>(at)[2 * row] = seed.get<int64_t>();
    }
  }
}

int32_t* Session::vector(const Program& program, const char* name) {
  for (const Value& value : program.values) {
    if (value.arena == Arena::Session && value.name == name)
      return reinterpret_cast<int32_t*>(memory_.data() + value.offset);
  }
  fail(ErrorCode::Internal, "the session has no '%s'", name);
}

std::vector<int32_t> Session::step(Device& device, const Program& program) {
  Bases bases = model_->bases();
  prepare(device, program, bases);
  bases[static_cast<int>(Arena::Session)] = memory_.data();
  execute(program, bases, model_->options_.threads, false, {}, nullptr, nullptr);
  const int32_t* next = vector(program, "next");
  for (int64_t row = 0; row < rows_; ++row) {
    if (next[row] < 0)
      fail(ErrorCode::Data,
           "row %lld: no token can be chosen: none is allowed, or no logit of those is finite",
           static_cast<long long>(row));
  }
  return {next, next + rows_};
}

std::vector<int32_t> Session::prefill(Device& device, const HostTensor& tokens,
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
  const int32_t* start = vector(program, "start");
  for (int64_t row = 0; row < rows_; ++row) {
    const int32_t length = lengths[static_cast<size_t>(row)];
    if (length < 1 || length > request.time || start[row] + length > cache_) {
      fail(ErrorCode::Data, "row %lld: a prompt of %d tokens after %d does not fit a cache of %lld positions",
           static_cast<long long>(row), length, start[row], static_cast<long long>(cache_));
    }
  }
  Bases bases = model_->bases();
  prepare(device, program, bases);
  upload(program, model_->graph_, {{"tokens", tokens}}, bases[static_cast<int>(Arena::Inputs)]);
  std::memcpy(vector(program, "lengths"), lengths.data(), lengths.size() * 4);
  started_ = true;
  return step(device, program);
}

std::vector<int32_t> Session::decode(Device& device, int64_t steps) {
  if (!started_) fail(ErrorCode::Data, "decode before prefill: a sequence needs a first token");
  ProgramRequest request;
  request.mode = Mode::Decode;
  request.rows = rows_;
  request.cache = cache_;
  const Program& program = model_->program(request);
  std::vector<int32_t> all;
  for (int64_t i = 0; i < steps; ++i) {
    const int32_t* start = vector(program, "start");
    for (int64_t row = 0; row < rows_; ++row) {
      if (start[row] >= cache_)
        fail(ErrorCode::Data, "row %lld: the cache of %lld positions is full", static_cast<long long>(row),
             static_cast<long long>(cache_));
    }
    const std::vector<int32_t> next = step(device, program);
    all.insert(all.end(), next.begin(), next.end());
  }
  return all;
}

}  // namespace tesserae
