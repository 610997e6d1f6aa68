// A model: its Graph, its State and its Programs. One that several ranks train is a Model on each of them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model_options.h"
#include "engine/program_cache.h"
#include "engine/state.h"
#include "engine/training_run.h"

namespace tesserae {

struct RunResult {
  std::map<std::string, HostTensor> outputs;
  std::vector<Tap> taps;
  std::vector<Timing> timings;
};

// The memory of a sampling session.
struct SessionArenas {
  DeviceArena memory, cache;
};

// Used on its device's engine thread alone.
class Model {
 public:
  // `group`: the ranks that train together, as this one sees them; null for a model of one rank.
  Model(std::string_view graphText, const ModelOptions& options, std::shared_ptr<Device> device,
        std::shared_ptr<ProcessGroup> group = nullptr);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // Compiles (or finds) a Program that trains or evaluates and runs it once, uncaptured.
  RunResult run(DeviceContext& context, const ProgramRequest& request, const HostBatch& batch,
                const RunOptions& options);

  std::string infoJson() const;
  // The kernels of the matrix products of all Programs so far: { products, library }, ModelProducts in
  // lib/native_products.ts.
  std::string productsJson() const;
  // Chooses the kernels that a checkpoint lists, { products }, for Programs from now on. Returns a list of
  // those that can't be used here. Throws ERR_CONFIG.
  std::string restoreProducts(std::string_view text);
  // What training will hold: parameters, gradients and two moments.
  int64_t stateBytes() const { return layout_.elements * 16; }

  const Graph& graph() const { return graph_; }
  Device& device() const { return *device_; }
  int threads() const { return options_.threads; }
  State& state() { return state_; }
  ProgramCache& programs() { return programs_; }
  TrainingRun& training() { return training_; }

  // The last session's memory, reused by the next one so that recordings on it stay valid.
  SessionArenas takeSpare();
  void keepSpare(SessionArenas arenas) { spare_ = std::move(arenas); }

 private:
  const ModelOptions options_;
  const std::shared_ptr<Device> device_;
  const std::shared_ptr<ProcessGroup> group_;
  const Graph graph_;
  const Layout layout_;
  Chooser chooser_;  // asking it remembers what a library answered
  State state_;
  ProgramCache programs_;
  TrainingRun training_;
  SessionArenas spare_;
};

}  // namespace tesserae
