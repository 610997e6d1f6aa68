// defines: Model, ModelOptions, TrainingOptions, StepResult, StepRequest, TrainingStep, RunResult, cudaIndex,
// defaultThreads
#pragma once

#include <array>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "compiler/compile.h"
#include "compiler/options.h"
#include "engine/executor.h"

namespace tesserae {

struct ModelOptions {
  std::string device = "cpu";
  Precision precision = Precision::FP32;
  int64_t seed = 0;
  PaddingPolicy padding;
  int threads = 0;  // 0: all processors that the process may use

  static ModelOptions parse(std::string_view text);  // throws ERR_CONFIG, ERR_DEVICE
};

// What a parameter has of its own; what is absent it has as the others do.
struct ParameterOptions {
  std::optional<double> weightDecay;
  double learningRateScale = 1;
  bool trainable = true;
};

struct TrainingOptions {
  OptimizerOptions optimizer;
  std::map<std::string, ParameterOptions> parameters;  // by name
  double maxGradNorm = 0, labelSmoothing = 0, emaDecay = 0;
  double initialLossScale = 1;
  Attributes lossScaleAttributes;  // empty without loss scaling
  std::vector<float> learningRates;
  std::vector<float> momenta;  // empty: the optimizer's setting in every step

  static TrainingOptions parse(std::string_view text, std::vector<float> learningRates,
                               std::vector<float> momenta);
};

// In the order that lib/native.ts reads it from a Float64Array. lossScale and skippedInRow: after the step.
struct StepResult {
  double lossSum, validTargets, gradNorm, learningRate, applied, attemptedSteps, appliedSteps, lossScale,
      skippedInRow;
};
inline constexpr size_t kStepResult = sizeof(StepResult) / sizeof(double);

// One optimizer step over micro-batches of one capacity, rows × time, with or without documents.
struct StepRequest {
  int64_t rows, time;
  bool documents;
  std::vector<HostBatch> microBatches;
  std::vector<int64_t> samples;  // rows of each micro-batch that hold one, from its start: they are numbered
};

// The host's memory of a training step that was enqueued: what the device reads from and writes to while the
// step is under way.
struct TrainingStep {
  std::unique_ptr<HostBlock> inputs;  // of all micro-batches: each its inputs, then its first sample
  int64_t inputBytes = 0;
  std::unique_ptr<HostBlock> state;  // the small values of State: written before the step, read after it
  StateLayout layout;
  StepResult result() const;  // once the device is done with the step
};

struct RunResult {
  std::map<std::string, HostTensor> outputs;
  std::vector<Tap> taps;
  std::vector<Timing> timings;
};

class Session;

// A model's State and its compiled Programs. Used on its device's engine thread alone.
class Model {
 public:
  Model(std::string_view graphText, const ModelOptions& options, std::shared_ptr<Device> device);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // Starts training anew: allocates gradients and the moments that the optimizer has, sets moments and
  // counters to zero, the loss scale to its first value and the moving average to the parameters, compiles
  // the update Program.
  void configureTraining(TrainingOptions options);
  // Enqueues one optimizer step; at most kStepsAhead may be under way.
  // Nothing waits for the device, and once the capacity was seen twice nothing is allocated.
  std::shared_ptr<const TrainingStep> enqueueStep(DeviceContext& context, const StepRequest& step);
  static constexpr int kStepsAhead = 2;
  // One optimizer step, each call of which is measured. Returns with the step done.
  struct Profile {
    StepResult result;
    std::vector<Timing> micro, update;
  };
  Profile profileStep(DeviceContext& context, const StepRequest& step);
  // Compiles (or finds) a Program and runs it once, uncaptured.
  RunResult run(DeviceContext& context, const ProgramRequest& request, const HostBatch& batch,
                const RunOptions& options);

  // kind: parameter, gradient, moment1, moment2; values in logical order, or as files have them (some
  // parameters transposed). Throw ERR_CONFIG for an unknown name.
  std::vector<float> readTensor(const std::string& kind, const std::string& name,
                                bool asInFiles = false) const;
  void writeTensor(const std::string& kind, const std::string& name, const std::vector<float>& values,
                   bool asInFiles = false);
  int64_t counter(Counter counter) const;
  void setCounter(Counter counter, int64_t value);
  std::array<double, kScaler> scaler() const;
  void setScaler(const std::array<double, kScaler>& values);

  std::string infoJson() const;
  // What training will hold: parameters, gradients and two moments.
  int64_t stateBytes() const { return layout_.elements * 16; }
  const Graph& graph() const { return graph_; }

 private:
  friend class Session;
  // A Program, and on a GPU the CUDA graphs that it was recorded as: one that stores gradients, one that
  // adds.
  struct Compiled {
    std::string key;
    Program program;
    struct Recorded {
      bool warm = false;     // has run once: libraries are loaded and kernels chosen
      bool possible = true;  // false when there was no memory for it
      Bases bases{};
      std::unique_ptr<Recording> recording;
    } recorded[2];
  };
  Compiled& compiled(const ProgramRequest& request);
  const Program& program(const ProgramRequest& request) { return compiled(request).program; }
  ProgramRequest microRequest(const StepRequest& step) const;
  std::set<std::string> frozen() const;  // parameters that these training options leave alone
  void writeChunkTable();
  Compiled& prepareStep(DeviceContext& context, const StepRequest& step, Bases& bases);
  void requireStepMemory(const DeviceContext& context, const Program& micro) const;
  std::shared_ptr<TrainingStep> freeStep(int64_t inputBytes);
  // Enqueues the step around what `enqueue` does for each Program.
  using Enqueue = std::function<void(Compiled& compiled, const Bases& bases, bool add)>;
  std::shared_ptr<TrainingStep> enqueueStep(DeviceContext& context, const StepRequest& step,
                                            const Enqueue& enqueue);
  void enqueue(Compiled& compiled, const Bases& bases, bool add);
  void upload(const Program& program, const HostBatch& batch, const Bases& bases);
  char* arena(Arena arena) const { return state_[static_cast<int>(arena)].data(); }
  void allocate(Arena arena, int64_t bytes);
  void writeParameter(const ParameterSlot& slot, const std::vector<float>& values);
  template <class T>
  void writeState(int64_t offset, const T* values, int64_t count) {
    device_->write(arena(Arena::State) + offset, values, count * static_cast<int64_t>(sizeof(T)));
  }
  template <class T>
  void readState(int64_t offset, T* values, int64_t count) const {
    device_->read(values, arena(Arena::State) + offset, count * static_cast<int64_t>(sizeof(T)));
  }
  Bases bases() const;
  const ParameterSlot& slot(const std::string& name) const;
  Arena arenaOf(const std::string& kind) const;

  const ModelOptions options_;
  const std::shared_ptr<Device> device_;
  const Graph graph_;
  const Layout layout_;
  const StateLayout stateLayout_;
  mutable Chooser chooser_;       // asking it remembers what a library answered
  DeviceArena state_[kArenas];    // the arenas of State; the others stay empty
  std::list<Compiled> programs_;  // most recently used first
  TrainingOptions training_;
  std::unique_ptr<Compiled> update_;
  std::shared_ptr<TrainingStep> steps_[kStepsAhead];  // held by nobody else: free
  DeviceArena spare_[2];  // what the last session had, for the next one: what was recorded on it stays valid
  double positions_ = 0;  // of a step, as State has them; 0: unknown
};

// The index in 'cuda:<index>'; −1 when the name is no CUDA device's.
int cudaIndex(const std::string& device);

// Threads of the CPU's pool: OMP_NUM_THREADS, else the processors of the process's affinity mask.
int defaultThreads();

}  // namespace tesserae
