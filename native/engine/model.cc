#include "engine/model.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "compiler/options.h"
#include "engine/initialize.h"
#include "ops/registry.h"
#include "runtime/error.h"
#include "runtime/threads.h"

namespace tesserae {

namespace {

constexpr size_t kMostPrograms = 16;  // capacities of training and evaluation together

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

int cudaIndex(const std::string& device) {
  if (device.size() < 6 || device.size() > 8 || device.rfind("cuda:", 0) != 0) return -1;
  int index = 0;
  for (size_t i = 5; i < device.size(); ++i) {
    if (device[i] < '0' || device[i] > '9') return -1;
    index = index * 10 + (device[i] - '0');
  }
  return index;
}

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
  const bool cpu = options.device == "cpu";
  if (!cpu && cudaIndex(options.device) < 0) {
    fail(ErrorCode::Device, "the device '%s' is unknown: use 'cpu' or 'cuda:0'", options.device.c_str());
  }
  options.precision = parsePrecision(textField(json, "precision", "options"));
  if (cpu && options.precision != Precision::FP32) {
    fail(ErrorCode::Device, "the CPU computes in fp32; precision '%s' needs a GPU",
         precisionName(options.precision));
  }
  options.seed = integerField(json, "seed", "options", 0, int64_t{1} << 53);
  options.padding = parsePadding(json);
  options.threads =
      json.contains("threads")
          ? static_cast<int>(integerField(json, "threads", "options", 1, std::max(8, 4 * defaultThreads())))
          : defaultThreads();
  return options;
}

Model::Model(std::string_view graphText, const ModelOptions& options, std::shared_ptr<Device> device)
    : options_(options),
      device_(std::move(device)),
      graph_(parseGraph(graphText, options.padding)),
      layout_(makeLayout(graph_)),
      stateLayout_(layout_),
      chooser_(Chooser::forDevice(device_->target(options.precision, options.threads))) {
  requireThreads(options.threads);
  requireMemory(*device_, layout_.elements * (hasHalfCopy(options.precision) ? 6 : 4) + stateLayout_.bytes,
                "the parameters", "use a smaller model");
  allocate(Arena::Parameters, layout_.elements * 4);
  if (hasHalfCopy(options.precision)) allocate(Arena::HalfCopy, layout_.elements * 2);
  allocate(Arena::State, stateLayout_.bytes);
  for (const ParameterSlot& slot : layout_.slots) {
    writeParameter(slot,
                   drawInitialValues(*slot.parameter, static_cast<uint64_t>(options.seed), options.threads));
  }
  setCounter(kSeed, options.seed);
  const double scaler[kScaler] = {1, 0, 0};
  writeState(stateLayout_.scaler, scaler, kScaler);
}

void Model::allocate(Arena arena, int64_t bytes) { state_[static_cast<int>(arena)].reserve(*device_, bytes); }

// Values in logical order, to the fp32 parameters and to their 16-bit copy.
void Model::writeParameter(const ParameterSlot& slot, const std::vector<float>& values) {
  std::vector<float> physical(static_cast<size_t>(slot.spec.physicalElements()), 0.0f);
  pack(slot.spec, 4, values.data(), physical.data());
  device_->write(arena(Arena::Parameters) + slot.offset * 4, physical.data(), slot.spec.bytes());
  if (!hasHalfCopy(options_.precision)) return;
  std::vector<uint16_t> half(physical.size());
  const DType type = activationType(options_.precision);
#pragma omp parallel for schedule(static) num_threads(options_.threads)
  for (size_t i = 0; i < half.size(); ++i) half[i] = toHalf(physical[i], type);
  device_->write(arena(Arena::HalfCopy) + slot.offset * 2, half.data(), slot.spec.bytes() / 2);
}

Bases Model::bases() const {
  Bases bases{};
  for (int i = 0; i < kArenas; ++i) bases[i] = state_[i].data();
  return bases;
}

Model::Compiled& Model::compiled(const ProgramRequest& request) {
  const std::string key = request.key();
  for (auto it = programs_.begin(); it != programs_.end(); ++it) {
    if (it->key != key) continue;
    programs_.splice(programs_.begin(), programs_, it);
    return programs_.front();
  }
  programs_.push_front(
      {key, compile(graph_, layout_, chooser_, request)});
  if (programs_.size() > kMostPrograms) {
    device_->synchronize();  // its recording may be running
    programs_.pop_back();
  }
  return programs_.front();
}

void Model::upload(const Program& program, const HostBatch& batch, const Bases& bases) {
  std::vector<char> staged(static_cast<size_t>(program.inputBytes));
  stage(program, batch, staged.data());
  device_->write(bases[static_cast<int>(Arena::Inputs)], staged.data(), program.inputBytes);
}

RunResult Model::run(DeviceContext& context, const ProgramRequest& request, const HostBatch& batch,
                     const RunOptions& options) {
  if (request.mode == Mode::Prefill || request.mode == Mode::Decode) {
    fail(ErrorCode::Config, "prefill and decode run in a sampling session");
  }
  ProgramRequest asked = request;
  asked.frozen = frozen();  // their gradients stay zero for the next step
  const Program& compiled = program(asked);
  checkBatch(compiled, graph_, batch);  // before memory is taken for what the request merely says
  if (request.mode == Mode::Train) allocate(Arena::Gradients, layout_.elements * 4);
  Bases bases = this->bases();
  prepare(context, compiled, bases);
  upload(compiled, batch, bases);
  const double positions = static_cast<double>(request.rows * request.time);
  writeState(stateLayout_.positions, &positions, 1);
  setCounter(kFirstSample, 0);
  positions_ = 0;
  RunResult result;
  const std::unique_ptr<Stopwatch> stopwatch = options.timing ? device_->stopwatch() : nullptr;
  execute(*device_, compiled, bases, options_.threads, false, options,
          {options.tap ? &result.taps : nullptr, stopwatch.get()});
  if (stopwatch) result.timings = timingsOf(compiled, *stopwatch);
  for (const auto& [role, id] : compiled.outputs)
    result.outputs[role] = download(*device_, compiled.values[id], bases);
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
                                                 {"moment2", Arena::Moment2},
                                                 {"ema", Arena::Ema}};
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
  std::vector<float> physical(static_cast<size_t>(from.spec.physicalElements()));
  device_->read(physical.data(), arena(arenaOf(kind)) + from.offset * 4, from.spec.bytes());
  std::vector<float> values(static_cast<size_t>(from.spec.logicalElements()));
  unpack(from.spec, 4, physical.data(), values.data());
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
  const bool turned = asInFiles && to.parameter->transposedInFiles;
  const std::vector<float>& logical =
      turned ? transpose(values, to.spec.axes[1].logical(), to.spec.axes[0].logical()) : values;
  const Arena place = arenaOf(kind);
  if (place == Arena::Parameters) return writeParameter(to, logical);
  std::vector<float> physical(static_cast<size_t>(to.spec.physicalElements()), 0.0f);
  pack(to.spec, 4, logical.data(), physical.data());
  device_->write(arena(place) + to.offset * 4, physical.data(), to.spec.bytes());
}

int64_t Model::counter(Counter which) const {
  int64_t value = 0;
  readState(stateLayout_.counters + which * 8, &value, 1);
  return value;
}

void Model::setCounter(Counter which, int64_t value) {
  writeState(stateLayout_.counters + which * 8, &value, 1);
}

std::array<double, kScaler> Model::scaler() const {
  std::array<double, kScaler> values{};
  readState(stateLayout_.scaler, values.data(), kScaler);
  return values;
}

void Model::setScaler(const std::array<double, kScaler>& values) {
  writeState(stateLayout_.scaler, values.data(), kScaler);
}

std::string Model::infoJson() const {
  static const char* const isas[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
  Json info = {{"device", options_.device},
               {"precision", precisionName(options_.precision)},
               {"layoutHash", hexHash(layout_.hash)},
               {"threads", options_.threads},
               {"isa", isas[static_cast<int>(cpuIsa())]},
               {"arithmetic", device_->arithmetic()},
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

}  // namespace tesserae
