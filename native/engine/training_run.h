// A model's training: how the optimizer is set up, and steps that are enqueued without waiting for the
// device.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/executor.h"
#include "engine/program_cache.h"
#include "engine/state.h"
#include "engine/training_options.h"

namespace tesserae {

// One optimizer step over micro-batches of one capacity.
struct StepRequest {
  Capacity capacity;
  std::vector<HostBatch> microBatches;
  std::vector<int64_t> firstSamples;  // of each micro-batch: the number of its first row in the whole step
};

// The host's memory of a training step that was enqueued: what the device reads from and writes to while the
// step is running.
struct TrainingStep {
  std::unique_ptr<HostBlock> inputs;  // of all micro-batches: each its inputs, then its first sample
  int64_t inputBytes = 0;
  std::unique_ptr<HostBlock> state;  // a StepState: written before the step, read after it
  StepState result() const;          // once the device is done with the step
};

class TrainingRun {
 public:
  // All arguments must outlive it. `group` is null for a model of one rank.
  TrainingRun(const Graph& graph, State& state, ProgramCache& programs, Device& device, int threads,
              ProcessGroup* group)
      : graph_(graph),
        state_(state),
        programs_(programs),
        device_(device),
        threads_(threads),
        group_(group) {}
  TrainingRun(const TrainingRun&) = delete;
  TrainingRun& operator=(const TrainingRun&) = delete;

  // Starts training from scratch: allocates gradients and the moments that the optimizer has, sets moments
  // and counters to zero, the loss scale to its first value and the moving average to the parameters,
  // compiles the update Program.
  void configure(TrainingOptions options);
  // Enqueues one optimizer step; at most kStepsAhead may run at once. All ranks must be given the step: if
  // one of them can't take it, because of its batches or its memory, none does. A rank that fails later
  // aborts the group. Nothing waits for the device, and once the capacity was seen twice nothing is
  // allocated.
  std::shared_ptr<const TrainingStep> enqueueStep(DeviceContext& context, const StepRequest& step);
  static constexpr int kStepsAhead = 2;
  // Runs one optimizer step to its end and measures each of its calls.
  struct Profile {
    StepState result;
    std::vector<Timing> micro, update;
  };
  Profile profileStep(DeviceContext& context, const StepRequest& step);

  // Parameters that the training options leave alone.
  std::set<std::string> frozen() const;
  // Sets the divisors of the losses' gradients for a Program that runs outside of a step. Waits for the
  // device.
  void setDivisors(const LossDivisors& divisors);

 private:
  // The Programs of a step: of its micro-batches but the last, and of the last, which adds up over ranks.
  struct Programs {
    CompiledProgram& micro;
    CompiledProgram& last;
  };
  Programs findPrograms(const StepRequest& step);
  void writeChunkTable();
  Programs prepareStep(DeviceContext& context, const StepRequest& step, Bases& bases);
  std::shared_ptr<TrainingStep> stageStep(const StepRequest& request, const Program& program);
  void requireStepMemory(const DeviceContext& context, const Program& micro) const;
  // Those that share the device's memory and take theirs at the same time: ranks are threads of one host.
  int64_t ranks() const { return group_ ? group_->world() : 1; }
  std::shared_ptr<TrainingStep> freeStep(int64_t inputBytes);
  // Enqueues the step around what `enqueue` does for each Program.
  using Enqueue = std::function<void(CompiledProgram& compiled, const Bases& bases, bool add)>;
  std::shared_ptr<TrainingStep> enqueueStep(DeviceContext& context, const StepRequest& step,
                                            const Enqueue& enqueue);

  const Graph& graph_;
  State& state_;
  ProgramCache& programs_;
  Device& device_;
  const int threads_;
  ProcessGroup* const group_;
  TrainingOptions options_;
  std::unique_ptr<CompiledProgram> update_;
  std::shared_ptr<TrainingStep> steps_[kStepsAhead];  // held by nobody else: free
  LossDivisors divisors_ = {};                        // as State has them; 0: unknown
};

}  // namespace tesserae
