// defines: Model, ModelOptions, TrainingOptions, StepResult, RunResult, cudaIndex, defaultThreads
#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "compiler/compile.h"
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

struct TrainingOptions {
  std::string optimizer;
  Attributes optimizerAttributes;
  double maxGradNorm = 0, labelSmoothing = 0;
  std::vector<float> learningRates;

  static TrainingOptions parse(std::string_view text, std::vector<float> learningRates);
};

// In the order that lib/native.ts reads it from a Float64Array.
struct StepResult {
  double lossSum, validTargets, gradNorm, learningRate, applied, attemptedSteps, appliedSteps;
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

  // Allocates gradients and moments (kept when they are there) and compiles the update Program.
  void configureTraining(TrainingOptions options);
  // One optimizer step over micro-batches of one capacity.
  StepResult trainStep(DeviceContext& context, int64_t rows, int64_t time,
                       const std::vector<HostBatch>& microBatches);
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

  std::string infoJson() const;
  // What training will hold: parameters, gradients and two moments.
  int64_t stateBytes() const { return layout_.elements * 16; }
  const Graph& graph() const { return graph_; }

 private:
  friend class Session;
  const Program& program(const ProgramRequest& request);
  char* arena(Arena arena) const { return state_[static_cast<int>(arena)].data(); }
  void allocate(Arena arena, int64_t bytes);
  void writeParameter(const ParameterSlot& slot, const std::vector<float>& values);
  template <class T>
  void writeState(int64_t offset, const T* values, int64_t count);
  template <class T>
  void readState(int64_t offset, T* values, int64_t count) const;
  Bases bases() const;
  const ParameterSlot& slot(const std::string& name) const;
  Arena arenaOf(const std::string& kind) const;

  const ModelOptions options_;
  const std::shared_ptr<Device> device_;
  const Graph graph_;
  const Layout layout_;
  const StateLayout stateLayout_;
  DeviceArena state_[kArenas];  // the arenas of State; the others stay empty
  std::list<std::pair<std::string, std::unique_ptr<Program>>> programs_;  // most recently used first
  TrainingOptions training_;
  std::unique_ptr<Program> update_;
};

// The index in 'cuda:<index>'; −1 when the name is no CUDA device's.
int cudaIndex(const std::string& device);

// Threads of the CPU's pool: OMP_NUM_THREADS, else the processors of the process's affinity mask.
int defaultThreads();

}  // namespace tesserae
