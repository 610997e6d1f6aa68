// The Programs of a model: compiled when they are first asked for, and on a GPU recorded as CUDA graphs.
#pragma once

#include <list>
#include <memory>

#include "compiler/compile.h"
#include "engine/executor.h"

namespace tesserae {

// A Program, and on a GPU the CUDA graphs that it was recorded as: one that stores gradients, one that adds.
struct CompiledProgram {
  Program program;
  struct Recorded {
    bool warm = false;     // has run once: libraries are loaded and kernels chosen
    bool possible = true;  // false when there was no memory for it
    Bases bases{};
    std::unique_ptr<Recording> recording;
  } recorded[2];
};

class ProgramCache {
 public:
  // All arguments must outlive the cache. `group` is null for a model of one rank.
  ProgramCache(const Graph& graph, const Layout& layout, Chooser& chooser, Device& device, int threads,
               ProcessGroup* group)
      : graph_(graph),
        layout_(layout),
        chooser_(chooser),
        device_(device),
        threads_(threads),
        group_(group) {}
  ProgramCache(const ProgramCache&) = delete;
  ProgramCache& operator=(const ProgramCache&) = delete;

  // The Program of a request. The cache keeps the most recently used ones; a reference is valid until that
  // many others were requested. Throws ERR_SHAPE and ERR_CONFIG.
  CompiledProgram& find(const ProgramRequest& request);
  // One that the cache does not keep.
  std::unique_ptr<CompiledProgram> compile(const ProgramRequest& request) const;

  // Forgets all Programs; references to them are no longer valid.
  void clear();

  // Enqueues a Program. The first time it runs call by call, so that libraries load. The second time it is
  // recorded, if the device records, and later calls replay the recording. `add`: adds to gradients and loss.
  void enqueue(CompiledProgram& compiled, const Bases& bases, bool add);

 private:
  const Graph& graph_;
  const Layout& layout_;
  Chooser& chooser_;
  Device& device_;
  const int threads_;
  ProcessGroup* const group_;
  std::list<CompiledProgram> programs_;  // most recently used first
};

}  // namespace tesserae
