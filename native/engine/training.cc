// A model's training: the optimizer's State, and steps that are enqueued without waiting for the device.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "compiler/plan.h"
#include "engine/model.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

constexpr int64_t kAfterInputs = 64;  // bytes: the first sample, on a cache line of its own

ParameterOptions parseParameter(const Json& json, const std::string& where) {
  onlyKeys(json, where, {"weightDecay", "learningRateScale", "trainable"});
  ParameterOptions options;
  if (json.contains("weightDecay")) options.weightDecay = numberField(json, "weightDecay", where);
  if (json.contains("learningRateScale")) {
    options.learningRateScale = numberField(json, "learningRateScale", where);
    if (!(options.learningRateScale > 0)) {
      fail(ErrorCode::Config,
           "%s.learningRateScale is %g; it must be greater than 0: trainable false freezes", where.c_str(),
           options.learningRateScale);
    }
  }
  options.trainable = flagField(json, "trainable", where, true);
  return options;
}

}  // namespace

TrainingOptions TrainingOptions::parse(std::string_view text, std::vector<float> learningRates,
                                       std::vector<float> momenta) {
  const Json json = parseJson(text, "the training options");
  onlyKeys(json, "training",
           {"optimizer", "parameters", "maxGradNorm", "labelSmoothing", "emaDecay", "lossScaling"});
  TrainingOptions options;
  options.optimizer = parseOptimizer(objectField(json, "optimizer", "training"), "training.optimizer");
  if (json.contains("parameters")) {
    for (const auto& [name, own] : objectField(json, "parameters", "training").items())
      options.parameters[name] = parseParameter(own, "training.parameters." + name);
  }
  if (json.contains("emaDecay")) options.emaDecay = numberField(json, "emaDecay", "training");
  options.maxGradNorm = numberField(json, "maxGradNorm", "training");
  options.labelSmoothing = numberField(json, "labelSmoothing", "training");
  if (json.contains("lossScaling")) {
    const char* const where = "training.lossScaling";
    const Json& scaling = objectField(json, "lossScaling", "training");
    onlyKeys(scaling, where, {"initScale", "growthFactor", "backoffFactor", "growthInterval"});
    options.initialLossScale = numberField(scaling, "initScale", where);
    if (!(options.initialLossScale > 0 && options.initialLossScale <= 3.4e38)) {
      fail(ErrorCode::Config, "%s.initScale is %g; it must be greater than 0 and finite in fp32", where,
           options.initialLossScale);
    }
    options.lossScaleAttributes = {
        {"growthFactor", numberField(scaling, "growthFactor", where)},
        {"backoffFactor", numberField(scaling, "backoffFactor", where)},
        {"growthInterval", integerField(scaling, "growthInterval", where, 1, int64_t{1} << 53)}};
  }
  if (learningRates.empty()) fail(ErrorCode::Config, "training.learningRates is empty");
  for (size_t i = 0; i < learningRates.size(); ++i) {
    if (!std::isfinite(learningRates[i]) || learningRates[i] < 0) {
      fail(ErrorCode::Config, "training.learningRates[%zu] is %g; a rate must be finite and not negative", i,
           learningRates[i]);
    }
  }
  if (!momenta.empty() && momenta.size() != learningRates.size())
    fail(ErrorCode::Config, "training.momenta has %zu values, learningRates %zu", momenta.size(),
         learningRates.size());
  for (size_t i = 0; i < momenta.size(); ++i) {
    if (!(momenta[i] >= 0 && momenta[i] < 1)) {
      fail(ErrorCode::Config, "training.momenta[%zu] is %g; a momentum must be at least 0 and less than 1", i,
           momenta[i]);
    }
  }
  options.learningRates = std::move(learningRates);
  options.momenta = std::move(momenta);
  return options;
}

void Model::configureTraining(TrainingOptions options) {
  for (const auto& [name, own] : options.parameters) slot(name);  // throws for a name that is not there
  ProgramRequest request;
  request.mode = Mode::Update;
  request.optimizer = options.optimizer.name;
  request.optimizerAttributes = options.optimizer.attributes;
  request.lossScaleAttributes = options.lossScaleAttributes;
  request.maxGradNorm = options.maxGradNorm;
  request.emaDecay = options.emaDecay;
  request.scheduleSteps = static_cast<int64_t>(options.learningRates.size());
  request.movesMomentum = !options.momenta.empty();
  auto update = std::make_unique<Compiled>(Compiled{
      "update", compile(graph_, layout_, chooser_, request)});
  const int64_t flat = layout_.elements * 4;
  std::vector<Arena> used, unused;
  for (Arena arena : {Arena::Gradients, Arena::Moment1, Arena::Moment2, Arena::Ema})
    (usesArena(update->program, arena) ? used : unused).push_back(arena);
  int64_t wanted = 0;
  for (Arena arena : used) wanted += std::max<int64_t>(0, flat - state_[static_cast<int>(arena)].bytes());
  requireMemory(*device_, wanted, "gradients and the optimizer's state", "use a smaller model");
  for (Arena arena : used) allocate(arena, flat);
  allocate(Arena::Schedule, request.scheduleBytes());
  // Nothing fails from here on but the device itself.
  device_->synchronize();
  for (Arena arena : unused) state_[static_cast<int>(arena)] = {};
  update_ = std::move(update);
  training_ = std::move(options);
  for (Arena zero : used) device_->fill(arena(zero), 0, flat);
  if (request.emaDecay > 0) device_->copy(arena(Arena::Ema), arena(Arena::Parameters), flat);
  device_->write(arena(Arena::Schedule), training_.learningRates.data(), request.scheduleSteps * 4);
  if (request.movesMomentum) {
    device_->write(arena(Arena::Schedule) + request.momentaOffset(), training_.momenta.data(),
                   request.scheduleSteps * 4);
  }
  writeChunkTable();
  setCounter(kAttempted, 0);
  setCounter(kApplied, 0);
  const double scaler[kScaler] = {training_.initialLossScale, 0, 0};
  writeState(stateLayout_.scaler, scaler, kScaler);
}

std::set<std::string> Model::frozen() const {
  std::set<std::string> names;
  for (const auto& [name, own] : training_.parameters) {
    if (!own.trainable) names.insert(name);
  }
  return names;
}

// (chunks, 2): weight decay, and what the learning rate is multiplied by, 0 for what is not trained.
void Model::writeChunkTable() {
  std::vector<float> chunks(static_cast<size_t>(layout_.chunks() * 2));
  for (const ParameterSlot& slot : layout_.slots) {
    const auto found = training_.parameters.find(slot.parameter->name);
    const ParameterOptions own = found == training_.parameters.end() ? ParameterOptions{} : found->second;
    const double decay =
                     own.weightDecay.value_or(slot.parameter->decay ? training_.optimizer.weightDecay : 0),
                 scale = slot.parameter->trainable && own.trainable ? own.learningRateScale : 0;
    const int64_t first = slot.offset / kChunkElements;
    for (int64_t chunk = first; chunk < first + slot.chunks; ++chunk) {
      chunks[static_cast<size_t>(2 * chunk)] = static_cast<float>(decay);
      chunks[static_cast<size_t>(2 * chunk + 1)] = static_cast<float>(scale);
    }
  }
  writeState(stateLayout_.chunks, chunks.data(), layout_.chunks() * 2);
}

StepResult TrainingStep::result() const {
  const char* small = state->data();
  double loss[2], scaler[kScaler];
  float norm[4];
  int64_t counters[kCounters];
  std::memcpy(loss, small + layout.loss, sizeof loss);
  std::memcpy(norm, small + layout.norm, sizeof norm);
  std::memcpy(scaler, small + layout.scaler, sizeof scaler);
  std::memcpy(counters, small + layout.counters, sizeof counters);
  return {loss[0],
          loss[1],
          norm[0],
          norm[3],
          norm[2],
          static_cast<double>(counters[kAttempted]),
          static_cast<double>(counters[kApplied]),
          scaler[kScale],
          scaler[kSkippedInRow]};
}

// One that no step under way uses.
std::shared_ptr<TrainingStep> Model::freeStep(int64_t inputBytes) {
  for (std::shared_ptr<TrainingStep>& step : steps_) {
    if (!step) step.reset(new TrainingStep{nullptr, 0, device_->hostBlock(stateLayout_.small), stateLayout_});
    if (step.use_count() > 1) continue;
    if (step->inputBytes < inputBytes) {
      step->inputs = device_->hostBlock(inputBytes);
      step->inputBytes = inputBytes;
    }
    return step;
  }
  fail(ErrorCode::Busy, "%d steps of this model are under way; await one before the next", kStepsAhead);
}

// Everything that can fail for a mistake of the caller or for want of memory, before anything is enqueued.
Model::Compiled& Model::prepareStep(DeviceContext& context, const StepRequest& step, Bases& bases) {
  if (!update_) fail(ErrorCode::Internal, "a training step before configureTraining");
  if (step.microBatches.empty()) fail(ErrorCode::Data, "an optimizer step needs at least one batch");
  if (step.samples.size() != step.microBatches.size())
    fail(ErrorCode::Internal, "each micro-batch needs its number of samples");
  for (int64_t samples : step.samples) {
    if (samples < 0 || samples > step.rows)
      fail(ErrorCode::Internal, "a micro-batch of %lld rows can't hold %lld samples",
           static_cast<long long>(step.rows), static_cast<long long>(samples));
  }
  Compiled& micro = compiled(microRequest(step));
  for (const HostBatch& batch : step.microBatches) checkBatch(micro.program, graph_, batch);
  requireStepMemory(context, micro.program);
  prepare(context, micro.program, bases);
  prepare(context, update_->program, bases);
  return micro;
}

// Throws the plan's table where the step's arenas can't grow to what it needs.
void Model::requireStepMemory(const DeviceContext& context, const Program& micro) const {
  const Program& update = update_->program;
  const std::pair<const DeviceArena*, int64_t> shared[] = {
      {&context.inputs, std::max(micro.inputBytes, update.inputBytes)},
      {&context.outputs, std::max(micro.outputBytes, update.outputBytes)},
      {&context.workspace, std::max(micro.workspaceBytes, update.workspaceBytes)}};
  if (std::all_of(std::begin(shared), std::end(shared),
                  [](const auto& entry) { return entry.second <= entry.first->bytes(); }))
    return;
  int64_t held = 0;
  for (const DeviceArena& arena : state_) held += arena.bytes();
  for (const auto& [arena, bytes] : shared) held += arena->bytes();
  requireTrainingMemory(graph_, layout_, micro, update, chooser_, device_->available() + held);
}

ProgramRequest Model::microRequest(const StepRequest& step) const {
  ProgramRequest request;
  request.mode = Mode::Train;
  request.rows = step.rows;
  request.time = step.time;
  request.documents = step.documents;
  request.labelSmoothing = training_.labelSmoothing;
  request.frozen = frozen();
  return request;
}

std::shared_ptr<TrainingStep> Model::enqueueStep(DeviceContext& context, const StepRequest& request,
                                                 const Enqueue& enqueue) {
  Bases bases = this->bases();
  Compiled& micro = prepareStep(context, request, bases);
  const size_t count = request.microBatches.size();
  const int64_t bytes = micro.program.inputBytes, stride = bytes + kAfterInputs;
  const std::shared_ptr<TrainingStep> step = freeStep(stride * static_cast<int64_t>(count));
  int64_t firstSample = 0;
  for (size_t i = 0; i < count; ++i) {
    char* const at = step->inputs->data() + static_cast<int64_t>(i) * stride;
    stage(micro.program, request.microBatches[i], at);
    std::memcpy(at + bytes, &firstSample, 8);
    firstSample += request.samples[i];
  }
  const double positions = static_cast<double>(request.rows * request.time) * static_cast<double>(count);
  char* const state = arena(Arena::State);
  if (positions != positions_) {
    char* const at = step->state->data() + stateLayout_.positions;
    std::memcpy(at, &positions, 8);
    device_->upload(state + stateLayout_.positions, at, 8);
  }
  positions_ = 0;  // unknown, should what follows fail half-way
  try {
    for (size_t i = 0; i < count; ++i) {
      const char* const at = step->inputs->data() + static_cast<int64_t>(i) * stride;
      device_->upload(bases[static_cast<int>(Arena::Inputs)], at, bytes);
      device_->upload(state + stateLayout_.counters + kFirstSample * 8, at + bytes, 8);
      enqueue(micro, bases, i > 0);
    }
    enqueue(*update_, bases, false);
    device_->download(step->state->data(), state, stateLayout_.small);
  } catch (...) {
    device_->synchronize();  // what was enqueued reads the step's memory, which is free from now on
    throw;
  }
  positions_ = positions;
  return step;
}

std::shared_ptr<const TrainingStep> Model::enqueueStep(DeviceContext& context, const StepRequest& request) {
  return enqueueStep(context, request, [&](Compiled& compiled, const Bases& bases, bool add) {
    enqueue(compiled, bases, add);
  });
}

// The first run is call by call: libraries load, cuBLASLt chooses its kernels. The second is recorded.
void Model::enqueue(Compiled& compiled, const Bases& bases, bool add) {
  Compiled::Recorded& recorded = compiled.recorded[add ? 1 : 0];
  const auto run = [&] { execute(*device_, compiled.program, bases, options_.threads, add); };
  if (recorded.warm && recorded.possible && (!recorded.recording || recorded.bases != bases)) {
    if (recorded.recording) device_->synchronize();  // it may be running
    recorded.recording = nullptr;
    try {
      recorded.recording = device_->record(run);
    } catch (const Error& error) {
      if (error.code != ErrorCode::OutOfMemory) throw;
      recorded.possible = false;  // call by call needs no memory of the driver's
    }
    recorded.bases = bases;
  }
  recorded.warm = true;
  recorded.recording ? device_->replay(*recorded.recording) : run();
}

Model::Profile Model::profileStep(DeviceContext& context, const StepRequest& request) {
  Profile profile{};
  std::vector<std::unique_ptr<Recording>> recordings;  // until the device is done with them
  std::vector<std::unique_ptr<Stopwatch>> stopwatches;
  const std::shared_ptr<TrainingStep> step =
      enqueueStep(context, request, [&](Compiled& compiled, const Bases& bases, bool add) {
        stopwatches.push_back(device_->stopwatch());
        const auto run = [&] {
          execute(*device_, compiled.program, bases, options_.threads, add, {},
                  {.stopwatch = stopwatches.back().get()});
        };
        // Recorded, so that the device does not wait for the host between two calls.
        recordings.push_back(device_->record(run));
        recordings.back() ? device_->replay(*recordings.back()) : run();
      });
  device_->synchronize();
  const Program& micro = program(microRequest(request));
  for (size_t i = 0; i < stopwatches.size(); ++i) {
    const bool last = i + 1 == stopwatches.size();
    std::vector<Timing>& into = last ? profile.update : profile.micro;
    for (Timing& timing : timingsOf(last ? update_->program : micro, *stopwatches[i]))
      into.push_back(std::move(timing));
  }
  profile.result = step->result();
  return profile;
}

}  // namespace tesserae
