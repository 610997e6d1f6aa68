#include "engine/executor.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "ops/registry.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

TensorView viewOf(const TensorSpec& spec, void* data) {
  TensorView view;
  view.data = data;
  view.dtype = spec.dtype;
  for (const Axis& axis : spec.axes) {
    for (const Factor& factor : axis.factors) {
      if (view.rank == 10)
        fail(ErrorCode::Shape, "a tensor has more than ten factors: %s", spec.describe().c_str());
      view.factors[view.rank++] = {factor.logical, factor.physical};
    }
  }
  view.elements = spec.physicalElements();
  if (!spec.axes.empty()) {
    view.columns = spec.axes.back().physical();
    view.logicalColumns = spec.axes.back().logical();
  }
  view.rows = view.elements / view.columns;
  return view;
}

// Types that JavaScript lacks are widened: 16-bit numbers to fp32, counters to fp64.
HostTensor widened(HostTensor tensor) {
  if (tensor.dtype == DType::I64) {
    HostTensor wide{DType::F64, tensor.shape, std::vector<std::byte>(tensor.data.size())};
    const auto* from = reinterpret_cast<const int64_t*>(tensor.data.data());
    double* to = reinterpret_cast<double*>(wide.data.data());
    for (int64_t i = 0; i < tensor.elements(); ++i) to[i] = static_cast<double>(from[i]);
    return wide;
  }
  if (dtypeSize(tensor.dtype) != 2) return tensor;
  HostTensor wide{DType::F32, tensor.shape, std::vector<std::byte>(tensor.data.size() * 2)};
  const auto* from = reinterpret_cast<const uint16_t*>(tensor.data.data());
  float* to = reinterpret_cast<float*>(wide.data.data());
  for (int64_t i = 0; i < tensor.elements(); ++i) to[i] = fromHalf(from[i], tensor.dtype);
  return wide;
}

// Memory of the values of one run: in the arenas, or an allocation each.
class Memory {
 public:
  Memory(Device& device, const Program& program, const Bases& bases, const RunOptions& options)
      : device_(device), program_(program), bases_(bases), poison_(options.poison) {
    if (options.poison) {
      fillNaN(bases[static_cast<int>(Arena::Workspace)], program.workspaceBytes);
      fillNaN(bases[static_cast<int>(Arena::Outputs)], program.outputBytes);
    }
    if (!options.separate) return;
    own_.resize(program.values.size());
    for (size_t i = 0; i < own_.size(); ++i) {
      const Value& value = program.values[i];
      if (value.offset < 0 || (value.arena != Arena::Workspace && !isTransfer(value))) continue;
      own_[i] = allocate(value.spec.bytes());
      if (value.arena == Arena::Inputs) device_.copy(own_[i].get(), placeOf(value), value.spec.bytes());
    }
  }

  // After the last call: outputs that had an allocation of their own go where the host looks for them.
  void finish() {
    for (size_t i = 0; i < own_.size(); ++i) {
      const Value& value = program_.values[i];
      if (own_[i] && value.arena == Arena::Outputs)
        device_.copy(placeOf(value), own_[i].get(), value.spec.bytes());
    }
    if (!own_.empty()) device_.synchronize();
  }

  char* of(ValueId id) const {
    const Value& value = program_.values[id];
    if (!own_.empty() && own_[id]) return own_[id].get();
    return placeOf(value);
  }

  char* scratch(const Call& call) {
    if (call.scratchBytes == 0) return nullptr;
    if (own_.empty()) return bases_[static_cast<int>(Arena::Workspace)] + call.scratchOffset;
    scratch_ = allocate(call.scratchBytes);
    return scratch_.get();
  }

 private:
  struct Release {
    Device* device;
    void operator()(char* data) const { device->release(data); }
  };
  using Owned = std::unique_ptr<char, Release>;

  static bool isTransfer(const Value& value) {
    return value.arena == Arena::Inputs || value.arena == Arena::Outputs;
  }
  char* placeOf(const Value& value) const { return bases_[static_cast<int>(value.arena)] + value.offset; }

  // All bits set is NaN in every float type and −1 in integers.
  void fillNaN(char* data, int64_t bytes) { device_.fill(data, 0xff, bytes); }

  Owned allocate(int64_t bytes) {
    Owned owned(device_.allocate(bytes), Release{&device_});
    if (poison_) fillNaN(owned.get(), bytes);
    return owned;
  }

  Device& device_;
  const Program& program_;
  const Bases& bases_;
  const bool poison_;  // without it, own allocations stay unwritten: a checker sees what reads them too early
  std::vector<Owned> own_;
  Owned scratch_{nullptr, Release{nullptr}};
};

HostTensor copyPhysical(Device& device, const Value& value, const char* data) {
  HostTensor tensor;
  tensor.dtype = value.spec.dtype;
  for (const Axis& axis : value.spec.axes) tensor.shape.push_back(axis.physical());
  tensor.data.resize(static_cast<size_t>(value.spec.bytes()));
  device.read(tensor.data.data(), data, value.spec.bytes());
  return widened(std::move(tensor));
}

// `columns`: positions of a row, so that messages name row and position.
void checkIds(const GraphInput& input, const int32_t* ids, int64_t n, int64_t columns) {
  for (int64_t i = 0; i < n; ++i) {
    const int32_t id = ids[i];
    if (id >= 0 && id < input.below) continue;
    if (input.ignored && id == *input.ignored) continue;
    fail(ErrorCode::Data, "%s[%lld][%lld] is %d; it must be in [0, %lld)", input.name.c_str(),
         static_cast<long long>(i / columns), static_cast<long long>(i % columns), id,
         static_cast<long long>(input.below));
  }
}

void checkLengths(const GraphInput& input, int64_t most, const HostTensor& tensor) {
  const int32_t* lengths = reinterpret_cast<const int32_t*>(tensor.data.data());
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    if (lengths[i] >= 0 && lengths[i] <= most) continue;
    fail(ErrorCode::Data, "%s[%lld] is %d; it must be in [0, %lld]", input.name.c_str(),
         static_cast<long long>(i), lengths[i], static_cast<long long>(most));
  }
}

void checkPositions(const GraphInput& input, int64_t most, const TensorSpec& spec, const HostTensor& tensor) {
  const int32_t* positions = reinterpret_cast<const int32_t*>(tensor.data.data());
  const int64_t time = spec.axes[1].logical();
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    if (positions[i] >= 0 && positions[i] <= most) continue;
    fail(ErrorCode::Data, "%s[%lld][%lld] is %d; it must be in [0, %lld], the length of '%s'",
         input.name.c_str(), static_cast<long long>(i / time), static_cast<long long>(i % time), positions[i],
         static_cast<long long>(most), input.measures.c_str());
  }
}

// A position's document starts there, or where that of the position before it does.
void checkStarts(const GraphInput& input, const TensorSpec& spec, const HostTensor& tensor) {
  const int32_t* starts = reinterpret_cast<const int32_t*>(tensor.data.data());
  const int64_t time = spec.axes[1].logical();
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    const int64_t t = i % time;
    if (starts[i] == t || (t > 0 && starts[i] == starts[i - 1])) continue;
    fail(ErrorCode::Data,
         "%s[%lld][%lld] is %d; it must be %lld, or equal to the value of the previous position",
         input.name.c_str(), static_cast<long long>(i / time), static_cast<long long>(t), starts[i],
         static_cast<long long>(t));
  }
}

}  // namespace

void checkBatch(const Program& program, const Graph& graph, const HostBatch& batch) {
  for (const auto& [name, tensor] : batch) {
    const GraphInput* input = graph.findInput(name);
    if (!input) fail(ErrorCode::Data, "the model has no input '%s'", name.c_str());
    if (input->optional && !capacityOf(program.request).documents)
      fail(ErrorCode::Data, "'%s' is given to a program without documents", name.c_str());
  }
  // In the Graph's order: tokens come before the targets that are made of them.
  for (const GraphInput& input : graph.inputs) {
    const auto used = program.inputs.find(input.name);
    if (used == program.inputs.end()) continue;
    const TensorSpec& spec = program.values[used->second].spec;
    const auto it = batch.find(input.name);
    if (it == batch.end()) {
      fail(ErrorCode::Data, "the batch has no '%s': %s", input.name.c_str(), spec.describe().c_str());
    }
    const HostTensor& tensor = it->second;
    if (tensor.dtype != input.dtype || tensor.elements() != spec.logicalElements()) {
      fail(ErrorCode::Data, "'%s' has %lld elements of %s; it must be %s", input.name.c_str(),
           static_cast<long long>(tensor.elements()), dtypeName(tensor.dtype), spec.describe().c_str());
    }
    switch (input.kind) {
      case GraphInput::Ids:
        checkIds(input, reinterpret_cast<const int32_t*>(tensor.data.data()), tensor.elements(),
                 spec.axes.back().logical());
        break;
      case GraphInput::Lengths:
        checkLengths(input, capacityOf(program.request).lengths.at(input.measures), tensor);
        break;
      case GraphInput::Starts:
        checkStarts(input, spec, tensor);
        break;
      case GraphInput::Positions:
        checkPositions(input, capacityOf(program.request).lengths.at(input.measures), spec, tensor);
        break;
      case GraphInput::Values:
        break;
    }
  }
}

void stage(const Program& program, const HostBatch& batch, char* staged) {
  for (const auto& [name, id] : program.inputs) {
    const Value& value = program.values[id];
    const HostTensor& tensor = batch.at(name);
    char* to = staged + value.offset;
    std::memset(to, 0, static_cast<size_t>(value.spec.bytes()));  // padding lanes
    pack(value.spec, dtypeSize(value.spec.dtype), tensor.data.data(), to);
  }
}

void upload(Device& device, const Program& program, const HostBatch& batch, const Bases& bases) {
  std::vector<char> staged(static_cast<size_t>(program.inputBytes));
  stage(program, batch, staged.data());
  device.write(bases[static_cast<int>(Arena::Inputs)], staged.data(), program.inputBytes);
}

void prepare(DeviceContext& context, const Program& program, Bases& bases) {
  const std::pair<DeviceArena*, int64_t> arenas[] = {{&context.inputs, program.inputBytes},
                                                     {&context.outputs, program.outputBytes},
                                                     {&context.workspace, program.workspaceBytes}};
  int64_t wanted = 0;
  for (const auto& [arena, bytes] : arenas) {
    // On the CPU an arena that grows is copied; on a GPU more memory is mapped behind it.
    const int64_t kept = context.device->kind() == DeviceKind::CUDA ? arena->bytes() : 0;
    if (bytes > arena->bytes()) wanted += bytes - kept;
  }
  const int64_t available = wanted > 0 ? context.device->available() : 0;
  if (wanted > available) {
    constexpr double MiB = 1 << 20;
    const std::string batch = capacityOf(program.request).describe();
    fail(ErrorCode::OutOfMemory,
         "a batch of %s needs %.0f MiB more (workspace %.0f, inputs %.0f, outputs "
         "%.0f) and "
         "%.0f MiB are available; use fewer rows and more accumulation, or shorter rows",
         batch.c_str(), wanted / MiB, program.workspaceBytes / MiB, program.inputBytes / MiB,
         program.outputBytes / MiB, available / MiB);
  }
  for (const auto& [arena, bytes] : arenas) arena->reserve(*context.device, bytes);
  bases[static_cast<int>(Arena::Inputs)] = context.inputs.data();
  bases[static_cast<int>(Arena::Outputs)] = context.outputs.data();
  bases[static_cast<int>(Arena::Workspace)] = context.workspace.data();
}

void execute(Device& device, const Program& program, const Bases& bases, int threads, bool add,
             const RunOptions& options, const Observers& observers, ProcessGroup* group) {
  Memory memory(device, program, bases, options);
  std::vector<TensorView> inputs, outputs;
  std::unique_ptr<bool[]> accumulate(new bool[16]);
  const bool cuda = device.kind() == DeviceKind::CUDA;
  if (observers.stopwatch) observers.stopwatch->mark();
  for (const Call& call : program.calls) {
    inputs.clear();
    outputs.clear();
    for (ValueId id : call.inputs) {
      inputs.push_back(id == kAbsent ? TensorView{} : viewOf(program.values[id].spec, memory.of(id)));
    }
    for (size_t i = 0; i < call.outputs.size(); ++i) {
      const ValueId id = call.outputs[i];
      outputs.push_back(id == kAbsent ? TensorView{} : viewOf(program.values[id].spec, memory.of(id)));
      accumulate[i] = call.writes[i] == WriteMode::Add || (call.writes[i] == WriteMode::StoreOrAdd && add);
    }
    const Kernel kernel = cuda ? cudaKernel(call.choice.kernel) : cpuKernel(call.choice.kernel);
    if (!kernel)
      fail(ErrorCode::Device, "the operation '%s' has no kernel for %s", call.op->name.c_str(),
           device.name().c_str());
    kernel({inputs.data(), outputs.data(), accumulate.get(), &call.attributes, &call.choice,
            memory.scratch(call), call.site, threads, device.stream(), program.target.precision, group});
    if (observers.stopwatch) observers.stopwatch->mark();
    for (size_t i = 0; observers.taps && i < call.outputs.size(); ++i) {
      if (call.outputs[i] == kAbsent) continue;
      observers.taps->push_back(
          {call.name, call.op->name, slotName(call.op->outputs[i]),
           copyPhysical(device, program.values[call.outputs[i]], static_cast<const char*>(outputs[i].data))});
    }
  }
  memory.finish();
}

std::vector<Timing> timingsOf(const Program& program, Stopwatch& stopwatch) {
  const std::vector<double> seconds = stopwatch.seconds();
  std::vector<Timing> timings;
  // Skip the interval between two runs: from the last call of one to the first call of the next.
  const size_t stride = program.calls.size() + 1;
  for (size_t i = 0; i < seconds.size(); ++i) {
    if (i % stride == program.calls.size()) continue;
    const Call& call = program.calls[i % stride];
    timings.push_back({call.name, call.op->name, seconds[i]});
  }
  return timings;
}

HostTensor download(Device& device, const Value& value, const Bases& bases) {
  std::vector<char> physical(static_cast<size_t>(value.spec.bytes()));
  device.read(physical.data(), bases[static_cast<int>(value.arena)] + value.offset, value.spec.bytes());
  HostTensor tensor;
  tensor.dtype = value.spec.dtype;
  for (const Axis& axis : value.spec.axes) tensor.shape.push_back(axis.logical());
  tensor.data.resize(static_cast<size_t>(value.spec.logicalElements() * dtypeSize(value.spec.dtype)));
  unpack(value.spec, dtypeSize(value.spec.dtype), physical.data(), tensor.data.data());
  return widened(std::move(tensor));
}

}  // namespace tesserae
