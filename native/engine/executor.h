// Runs Programs call by call, in the memory that it is given.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comm/process_group.h"
#include "compiler/program.h"
#include "runtime/device.h"

namespace tesserae {

// A device, and the memory that Programs of all its models share, because they run in turn.
struct DeviceContext {
  std::shared_ptr<Device> device;
  DeviceArena inputs, outputs, workspace;
};

// An array as it comes from or goes to the host: dense, in logical shape unless said otherwise.
struct HostTensor {
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  std::vector<std::byte> data;
  int64_t elements() const { return static_cast<int64_t>(data.size()) / dtypeSize(dtype); }
  // The elements as T, whose size is that of the dtype.
  template <class T>
  std::vector<T> values() const {
    const T* first = reinterpret_cast<const T*>(data.data());
    return std::vector<T>(first, first + data.size() / sizeof(T));
  }
};
using HostBatch = std::map<std::string, HostTensor>;

struct RunOptions {
  bool tap = false;       // hand out what every call wrote, physical lanes included
  bool poison = false;    // fill workspace and outputs with NaN first
  bool timing = false;    // measure each call
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

// The observers of a run, each null if absent.
struct Observers {
  std::vector<Tap>* taps = nullptr;
  Stopwatch* stopwatch = nullptr;  // a mark before the first call and one after each
};

// Where the arenas are in memory, by Arena.
using Bases = std::array<char*, kArenas>;

// Throws ERR_DATA for what a batch lacks, and for what is misshapen or out of range.
void checkBatch(const Program& program, const Graph& graph, const HostBatch& batch);

// Writes a checked batch as it lies in the Program's inputs, `program.inputBytes` from `staged`.
void stage(const Program& program, const HostBatch& batch, char* staged);

// Writes it to the Program's inputs on the device, and waits for that.
void upload(Device& device, const Program& program, const HostBatch& batch, const Bases& bases);

// Enqueues a Program call by call. `add`: gradients and the loss are added to, not stored. The DeviceContext
// must be large enough (prepare). Without options and taps nothing waits for the device. `group`: the ranks
// for a Program that adds up over them. On the CPU both lanes run in the order of the calls.
void execute(Device& device, const Program& program, const Bases& bases, int threads, bool add,
             const RunOptions& options = {}, const Observers& observers = {}, ProcessGroup* group = nullptr);

// The times that a stopwatch measured over one or more runs of a Program.
std::vector<Timing> timingsOf(const Program& program, Stopwatch& stopwatch);

// Grows the DeviceContext for a Program; fills the bases of Inputs, Outputs and Workspace. Throws
// ERR_OUT_OF_MEMORY before anything is allocated when the device has too little.
void prepare(DeviceContext& context, const Program& program, Bases& bases);

// A value as the host sees it: logical shape without padding, 16-bit numbers widened.
HostTensor download(Device& device, const Value& value, const Bases& bases);

}  // namespace tesserae
