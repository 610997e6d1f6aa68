#include "engine/training_run.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>

#include "compiler/plan.h"
#include "engine/step_agreement.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

constexpr int64_t kAfterInputs = 64;  // bytes: the first sample, on a cache line of its own

}  // namespace

void TrainingRun::configure(TrainingOptions options) {
  for (const auto& [name, own] : options.parameters)
    state_.slot(name);  // throws for a name that is not there
  UpdateRequest request;
  request.optimizer = options.optimizer.name;
  request.optimizerAttributes = options.optimizer.attributes;
  request.lossScaleAttributes = options.lossScaleAttributes;
  request.maxGradNorm = options.maxGradNorm;
  request.emaDecay = options.emaDecay;
  request.scheduleSteps = static_cast<int64_t>(options.learningRates.size());
  request.movesMomentum = !options.momenta.empty();
  std::unique_ptr<CompiledProgram> update = programs_.compile(request);
  const int64_t flat = state_.layout().elements * 4;
  std::vector<Arena> used, unused;
  for (Arena arena : {Arena::Gradients, Arena::Moment1, Arena::Moment2, Arena::Ema})
    (usesArena(update->program, arena) ? used : unused).push_back(arena);
  int64_t wanted = 0;
  for (Arena arena : used) wanted += std::max<int64_t>(0, flat - state_.bytes(arena));
  requireMemory(device_, wanted * ranks(), "gradients and the optimizer's state", "use a smaller model");
  for (Arena arena : used) state_.allocate(arena, flat);
  state_.allocate(Arena::Schedule, request.scheduleBytes());
  // Nothing fails from here on but the device itself.
  device_.synchronize();
  for (Arena arena : unused) state_.release(arena);
  update_ = std::move(update);
  options_ = std::move(options);
  for (Arena zero : used) device_.fill(state_.arena(zero), 0, flat);
  if (request.emaDecay > 0) device_.copy(state_.arena(Arena::Ema), state_.arena(Arena::Parameters), flat);
  char* const schedule = state_.arena(Arena::Schedule);
  device_.write(schedule, options_.learningRates.data(), request.scheduleSteps * 4);
  if (request.movesMomentum) {
    device_.write(schedule + request.momentaOffset(), options_.momenta.data(), request.scheduleSteps * 4);
  }
  writeChunkTable();
  state_.setSteps(0, 0);
  state_.write(&StepState::scaler, LossScaler{options_.initialLossScale, 0, 0});
}

std::set<std::string> TrainingRun::frozen() const {
  std::set<std::string> names;
  for (const auto& [name, own] : options_.parameters) {
    if (!own.trainable) names.insert(name);
  }
  return names;
}

void TrainingRun::writeChunkTable() {
  const Layout& layout = state_.layout();
  std::vector<ChunkSettings> chunks(static_cast<size_t>(layout.chunks()));
  for (const ParameterSlot& slot : layout.slots) {
    const auto found = options_.parameters.find(slot.parameter->name);
    const ParameterOptions own = found == options_.parameters.end() ? ParameterOptions{} : found->second;
    const double decay = own.weightDecay.value_or(slot.parameter->decay ? options_.optimizer.weightDecay : 0),
                 scale = slot.parameter->trainable && own.trainable ? own.learningRateScale : 0;
    const auto first = chunks.begin() + slot.offset / kChunkElements;
    std::fill(first, first + slot.chunks,
              ChunkSettings{static_cast<float>(decay), static_cast<float>(scale)});
  }
  state_.writeChunks(chunks);
}

StepState TrainingStep::result() const {
  StepState result;
  std::memcpy(&result, state->data(), sizeof result);
  return result;
}

// One that no running step uses.
std::shared_ptr<TrainingStep> TrainingRun::freeStep(int64_t inputBytes) {
  for (std::shared_ptr<TrainingStep>& step : steps_) {
    if (!step) step.reset(new TrainingStep{nullptr, 0, device_.hostBlock(sizeof(StepState))});
    if (step.use_count() > 1) continue;
    if (step->inputBytes < inputBytes) {
      step->inputs = device_.hostBlock(inputBytes);
      step->inputBytes = inputBytes;
    }
    return step;
  }
  fail(ErrorCode::Busy, "%d steps of this model are already running; await one before the next", kStepsAhead);
}

// Everything that can fail, because of the caller or of too little memory, before anything is enqueued.
TrainingRun::Programs TrainingRun::prepareStep(DeviceContext& context, const StepRequest& step,
                                               Bases& bases) {
  if (!update_) fail(ErrorCode::Internal, "a training step before configureTraining");
  if (step.microBatches.empty()) fail(ErrorCode::Data, "an optimizer step needs at least one batch");
  if (step.firstSamples.size() != step.microBatches.size())
    fail(ErrorCode::Internal, "each micro-batch needs the number of its first sample");
  const Programs programs = findPrograms(step);
  for (const HostBatch& batch : step.microBatches) checkBatch(programs.last.program, graph_, batch);
  requireStepMemory(context, programs.last.program);
  for (const CompiledProgram* compiled : {&programs.micro, &programs.last, update_.get()})
    prepare(context, compiled->program, bases);
  return programs;
}

// Throws the plan's table where the step's arenas can't grow to what it needs.
void TrainingRun::requireStepMemory(const DeviceContext& context, const Program& micro) const {
  const Program& update = update_->program;
  const std::pair<const DeviceArena*, int64_t> shared[] = {
      {&context.inputs, std::max(micro.inputBytes, update.inputBytes)},
      {&context.outputs, std::max(micro.outputBytes, update.outputBytes)},
      {&context.workspace, std::max(micro.workspaceBytes, update.workspaceBytes)}};
  if (std::all_of(std::begin(shared), std::end(shared),
                  [](const auto& entry) { return entry.second <= entry.first->bytes(); }))
    return;
  int64_t held = state_.bytes();
  for (const auto& [arena, bytes] : shared) held += arena->bytes();
  requireTrainingMemory(graph_, state_.layout(), micro, update, device_.available() / ranks() + held);
}

TrainingRun::Programs TrainingRun::findPrograms(const StepRequest& step) {
  TrainRequest request;
  request.capacity = step.capacity;
  request.labelSmoothing = options_.labelSmoothing;
  request.frozen = frozen();
  const bool hasOthers = !group_ || step.microBatches.size() > 1;
  CompiledProgram* const others = hasOthers ? &programs_.find(request) : nullptr;
  if (!group_) return {*others, *others};
  request.world = group_->world();
  CompiledProgram& last = programs_.find(request);
  return {others ? *others : last, last};
}

void TrainingRun::setDivisors(const LossDivisors& divisors) {
  divisors_ = {};  // unknown, should the next line fail
  state_.write(&StepState::lossDivisors, divisors);
  divisors_ = divisors;
}

// The inputs of all micro-batches in host memory that the device reads from.
std::shared_ptr<TrainingStep> TrainingRun::stageStep(const StepRequest& request, const Program& program) {
  const size_t count = request.microBatches.size();
  const int64_t bytes = program.inputBytes, stride = bytes + kAfterInputs;
  const std::shared_ptr<TrainingStep> step = freeStep(stride * static_cast<int64_t>(count));
  for (size_t i = 0; i < count; ++i) {
    char* const at = step->inputs->data() + static_cast<int64_t>(i) * stride;
    stage(program, request.microBatches[i], at);
    std::memcpy(at + bytes, &request.firstSamples[i], sizeof request.firstSamples[i]);
  }
  return step;
}

std::shared_ptr<TrainingStep> TrainingRun::enqueueStep(DeviceContext& context, const StepRequest& request,
                                                       const Enqueue& enqueue) {
  Bases bases = state_.bases();
  std::optional<Programs> programs;
  std::shared_ptr<TrainingStep> step;
  TargetCounts targets;
  std::exception_ptr refusal;
  try {
    programs.emplace(prepareStep(context, request, bases));
    step = stageStep(request, programs->last.program);
    targets = countTargets(graph_, request.microBatches);
  } catch (...) {
    refusal = std::current_exception();
  }
  targets = agreeOnStep(group_, refusal, targets);
  const LossDivisors divisors = lossDivisors(graph_, targets);
  try {
    if (divisors != divisors_) {
      char* const at = step->state->data() + offsetof(StepState, lossDivisors);
      std::memcpy(at, &divisors, sizeof divisors);
      device_.upload(state_.at(&StepState::lossDivisors), at, sizeof divisors);
    }
    divisors_ = {};  // unknown, should what follows fail half-way
    const size_t count = request.microBatches.size();
    const int64_t bytes = programs->last.program.inputBytes;
    for (size_t i = 0; i < count; ++i) {
      const char* const at = step->inputs->data() + static_cast<int64_t>(i) * (bytes + kAfterInputs);
      device_.upload(bases[static_cast<int>(Arena::Inputs)], at, bytes);
      device_.upload(state_.at(&StepState::counters, &Counters::firstSample), at + bytes, sizeof(int64_t));
      enqueue(i + 1 < count ? programs->micro : programs->last, bases, i > 0);
    }
    enqueue(*update_, bases, false);
    device_.download(step->state->data(), state_.arena(Arena::State), sizeof(StepState));
  } catch (const std::exception& error) {
    if (group_) group_->abort(error.what());  // the others wait for this rank
    device_.synchronize();  // what was enqueued reads the step's memory, which is free from now on
    throw;
  }
  divisors_ = divisors;
  return step;
}

std::shared_ptr<const TrainingStep> TrainingRun::enqueueStep(DeviceContext& context,
                                                             const StepRequest& request) {
  return enqueueStep(context, request, [&](CompiledProgram& compiled, const Bases& bases, bool add) {
    programs_.enqueue(compiled, bases, add);
  });
}

TrainingRun::Profile TrainingRun::profileStep(DeviceContext& context, const StepRequest& request) {
  Profile profile{};
  std::vector<std::unique_ptr<Recording>> recordings;  // until the device is done with them
  std::vector<std::unique_ptr<Stopwatch>> stopwatches;
  const std::shared_ptr<TrainingStep> step =
      enqueueStep(context, request, [&](CompiledProgram& compiled, const Bases& bases, bool add) {
        stopwatches.push_back(device_.stopwatch());
        const auto run = [&] {
          execute(device_, compiled.program, bases, threads_, add, {},
                  {.stopwatch = stopwatches.back().get()}, group_);
        };
        // Recorded, so that the device does not wait for the host between two calls.
        recordings.push_back(device_.record(run));
        recordings.back() ? device_.replay(*recordings.back()) : run();
      });
  device_.synchronize();
  const Programs programs = findPrograms(request);
  const size_t microSteps = request.microBatches.size();
  for (size_t i = 0; i < stopwatches.size(); ++i) {
    const bool isUpdate = i == microSteps;
    const CompiledProgram& compiled = isUpdate             ? *update_
                                      : i + 1 < microSteps ? programs.micro
                                                           : programs.last;
    std::vector<Timing>& into = isUpdate ? profile.update : profile.micro;
    for (Timing& timing : timingsOf(compiled.program, *stopwatches[i])) into.push_back(std::move(timing));
  }
  profile.result = step->result();
  return profile;
}

}  // namespace tesserae
