#include "engine/executor.h"

#include <algorithm>
#include <chrono>
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

// Memory of the values of one run: in the arenas, or an allocation each.
class Memory {
 public:
  Memory(const Program& program, const Bases& bases, const RunOptions& options)
      : program_(program), bases_(bases), own_(options.separate ? program.values.size() : 0) {
    if (options.poison && !options.separate) {
      fillNaN(bases[static_cast<int>(Arena::Workspace)], program.workspaceBytes);
      fillNaN(bases[static_cast<int>(Arena::Outputs)], program.outputBytes);
    }
    for (size_t i = 0; i < own_.size(); ++i) {
      if (program.values[i].arena != Arena::Workspace) continue;
      own_[i] = allocate(program.values[i].spec.bytes());
    }
  }

  char* of(ValueId id) const {
    const Value& value = program_.values[id];
    if (!own_.empty() && own_[id]) return own_[id].get();
    return bases_[static_cast<int>(value.arena)] + value.offset;
  }

  char* scratch(const Call& call) {
    if (call.scratchBytes == 0) return nullptr;
    if (own_.empty()) return bases_[static_cast<int>(Arena::Workspace)] + call.scratchOffset;
    scratch_ = allocate(call.scratchBytes);
    return scratch_.get();
  }

 private:
  struct Free {
    void operator()(char* data) const { std::free(data); }
  };
  using Owned = std::unique_ptr<char, Free>;

  // All bits set is NaN in every float type and −1 in integers.
  static void fillNaN(char* data, int64_t bytes) {
    if (bytes > 0) std::memset(data, 0xff, static_cast<size_t>(bytes));
  }

  static Owned allocate(int64_t bytes) {
    const int64_t rounded = (bytes + 63) / 64 * 64;
    Owned owned(static_cast<char*>(std::aligned_alloc(64, static_cast<size_t>(rounded))));
    if (!owned)
      fail(ErrorCode::OutOfMemory, "%lld bytes could not be allocated", static_cast<long long>(bytes));
    fillNaN(owned.get(), rounded);
    return owned;
  }

  const Program& program_;
  const Bases& bases_;
  std::vector<Owned> own_;
  Owned scratch_;
};

HostTensor copyPhysical(const Value& value, const char* data) {
  HostTensor tensor;
  tensor.dtype = value.spec.dtype;
  for (const Axis& axis : value.spec.axes) tensor.shape.push_back(axis.physical());
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  tensor.data.assign(bytes, bytes + value.spec.bytes());
  return tensor;
}

void checkIds(const GraphInput& input, const int32_t* ids, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const int32_t id = ids[i];
    if (id >= 0 && id < *input.below) continue;
    if (input.ignored && id == *input.ignored) continue;
    fail(ErrorCode::Data, "%s[%lld] is %d; it must be in [0, %lld)", input.name.c_str(),
         static_cast<long long>(i), id, static_cast<long long>(*input.below));
  }
}

// An int32 input over the batch alone counts positions of each row.
void checkLengths(const GraphInput& input, int64_t time, const HostTensor& tensor) {
  if (tensor.dtype != DType::I32) return;
  const int32_t* lengths = reinterpret_cast<const int32_t*>(tensor.data.data());
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    if (lengths[i] >= 0 && lengths[i] <= time) continue;
    fail(ErrorCode::Data, "%s[%lld] is %d; it must be in [0, %lld]", input.name.c_str(),
         static_cast<long long>(i), lengths[i], static_cast<long long>(time));
  }
}

}  // namespace

void upload(const Program& program, const Graph& graph, const HostBatch& batch, char* inputs) {
  for (const auto& [name, tensor] : batch) {
    if (!graph.findInput(name)) fail(ErrorCode::Data, "the model has no input '%s'", name.c_str());
  }
  for (const auto& [name, id] : program.inputs) {
    const Value& value = program.values[id];
    const auto it = batch.find(name);
    if (it == batch.end())
      fail(ErrorCode::Data, "the batch has no '%s': %s", name.c_str(), value.spec.describe().c_str());
    const HostTensor& tensor = it->second;
    if (tensor.dtype != value.spec.dtype || tensor.elements() != value.spec.logicalElements()) {
      fail(ErrorCode::Data, "'%s' has %lld elements of %s; it must be %s", name.c_str(),
           static_cast<long long>(tensor.elements()), dtypeName(tensor.dtype), value.spec.describe().c_str());
    }
    const GraphInput* input = graph.findInput(name);
    if (input->below)
      checkIds(*input, reinterpret_cast<const int32_t*>(tensor.data.data()), tensor.elements());
    if (value.spec.axes.size() == 1 && !input->below) checkLengths(*input, program.request.time, tensor);
    char* to = inputs + value.offset;
    std::memset(to, 0, static_cast<size_t>(value.spec.bytes()));
    pack(value.spec, dtypeSize(value.spec.dtype), tensor.data.data(), to);
  }
}

void prepare(Device& device, const Program& program, Bases& bases) {
  const int64_t wanted = std::max<int64_t>(0, program.inputBytes - device.inputs.bytes()) +
                         std::max<int64_t>(0, program.outputBytes - device.outputs.bytes()) +
                         std::max<int64_t>(0, program.workspaceBytes - device.workspace.bytes());
  const int64_t available = availableMemory();
  if (wanted > available) {
    constexpr double MiB = 1 << 20;
    fail(ErrorCode::OutOfMemory,
         "a batch of %lld rows × %lld positions needs %.0f MiB more (workspace %.0f, inputs %.0f, outputs "
         "%.0f) and %.0f MiB "
         "are available; use fewer rows and more accumulation, or shorter rows",
         static_cast<long long>(program.request.rows), static_cast<long long>(program.request.time),
         wanted / MiB, program.workspaceBytes / MiB, program.inputBytes / MiB, program.outputBytes / MiB,
         available / MiB);
  }
  device.inputs.reserve(program.inputBytes);
  device.outputs.reserve(program.outputBytes);
  device.workspace.reserve(program.workspaceBytes);
  bases[static_cast<int>(Arena::Inputs)] = device.inputs.data();
  bases[static_cast<int>(Arena::Outputs)] = device.outputs.data();
  bases[static_cast<int>(Arena::Workspace)] = device.workspace.data();
}

void execute(const Program& program, const Bases& bases, int threads, bool add, const RunOptions& options,
             std::vector<Tap>* taps, std::vector<Timing>* timings) {
  Memory memory(program, bases, options);
  std::vector<TensorView> inputs, outputs;
  std::unique_ptr<bool[]> accumulate(new bool[16]);
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
    const Kernel kernel = cpuKernel(call.op->name);
    if (!kernel) fail(ErrorCode::Device, "the operation '%s' has no CPU kernel", call.op->name.c_str());
    const auto start = std::chrono::steady_clock::now();
    kernel({inputs.data(), outputs.data(), accumulate.get(), &call.attributes, memory.scratch(call),
            call.site, threads, nullptr});
    if (options.timing) {
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      timings->push_back({call.name, call.op->name, elapsed.count()});
    }
    for (size_t i = 0; options.tap && i < call.outputs.size(); ++i) {
      if (call.outputs[i] == kAbsent) continue;
      taps->push_back(
          {call.name, call.op->name, slotName(call.op->outputs[i]),
           copyPhysical(program.values[call.outputs[i]], static_cast<const char*>(outputs[i].data))});
    }
  }
}

HostTensor download(const Value& value, const Bases& bases) {
  HostTensor tensor;
  tensor.dtype = value.spec.dtype;
  for (const Axis& axis : value.spec.axes) tensor.shape.push_back(axis.logical());
  tensor.data.resize(static_cast<size_t>(value.spec.logicalElements() * dtypeSize(value.spec.dtype)));
  unpack(value.spec, dtypeSize(value.spec.dtype), bases[static_cast<int>(value.arena)] + value.offset,
         tensor.data.data());
  return tensor;
}

}  // namespace tesserae
