// defines: Device, HostTensor, HostBatch, RunOptions, Tap, Timing, RunResult, Bases, execute
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "compiler/program.h"
#include "runtime/memory.h"

namespace tesserae {

// What Programs of all models on a device share: they run in turn.
struct Device {
  HostArena inputs, outputs, workspace;
  int threads = 1;
};

// An array as it comes from or goes to the host: dense, in logical shape unless said otherwise.
struct HostTensor {
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  std::vector<std::byte> data;
  int64_t elements() const { return static_cast<int64_t>(data.size()) / dtypeSize(dtype); }
};
using HostBatch = std::map<std::string, HostTensor>;

struct RunOptions {
  bool tap = false;     // hand out what every call wrote, physical lanes included
  bool poison = false;  // fill workspace and outputs with NaN first
  bool timing = false;
  bool separate = false;  // an allocation of its own for every buffer, for memory checkers
};

struct Tap {
  std::string call, operation, output;
  HostTensor value;
};

struct Timing {
  std::string call, operation;
  double seconds;
};

// Where the arenas are in memory, by Arena.
using Bases = std::array<char*, kArenas>;

// Copies a batch into the Program's inputs. Throws ERR_DATA for what is missing, misshapen or out of range.
void upload(const Program& program, const Graph& graph, const HostBatch& batch, char* inputs);

// Runs a Program call by call on the CPU. `add`: gradients and the loss are added to, not stored. The
// Device's arenas must be large enough (prepare). Taps and timings are appended where asked for.
void execute(const Program& program, const Bases& bases, int threads, bool add, const RunOptions& options,
             std::vector<Tap>* taps, std::vector<Timing>* timings);

// Grows the Device for a Program; fills the bases of Inputs, Outputs and Workspace. Throws ERR_OUT_OF_MEMORY
// before anything is allocated when the machine has too little.
void prepare(Device& device, const Program& program, Bases& bases);

// A value as the host sees it: logical shape without padding.
HostTensor download(const Value& value, const Bases& bases);

}  // namespace tesserae
