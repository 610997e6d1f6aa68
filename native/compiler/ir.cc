#include "compiler/ir.h"

#include "ops/registry.h"
#include "ops/state.h"
#include "ops/state_values.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

constexpr int64_t kAlignment = 64;
constexpr double kLargestTensor = 1099511627776.0;  // 2^40 elements: sizes in bytes stay far from overflow
int64_t align(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

class Inference : public InferContext {
 public:
  Inference(const Ir& ir, const Node& node)
      : ir_(ir), node_(node), outputs(node.op->outputs.size()), filled(node.op->outputs.size(), false) {}

  bool has(int input) const override {
    return static_cast<size_t>(input) < node_.inputs.size() && node_.inputs[input] != kAbsent;
  }
  const TensorSpec& input(int input) const override {
    if (!has(input)) reject("the input '" + slotName(node_.op->inputs[input]) + "' is missing");
    return ir_.values[node_.inputs[input]].spec;
  }
  const Attributes& attributes() const override { return node_.attributes; }
  DType activationType() const override { return tesserae::activationType(ir_.precision); }
  void output(int output, TensorSpec spec) override {
    outputs[output] = std::move(spec);
    filled[output] = true;
  }
  void reject(const std::string& why) const override {
    fail(ErrorCode::Shape, "%s (%s): %s", node_.name.c_str(), node_.op->name.c_str(), why.c_str());
  }

 private:
  const Ir& ir_;
  const Node& node_;

 public:
  std::vector<TensorSpec> outputs;
  std::vector<bool> filled;
};

}  // namespace

const char* arenaName(Arena arena) {
  static const char* const names[kArenas] = {"parameters", "halfCopy", "gradients", "moment1", "moment2",
                                             "ema",        "state",    "schedule",  "session", "cache",
                                             "inputs",     "outputs",  "workspace"};
  return names[static_cast<int>(arena)];
}

StateLayout::StateLayout(const Layout& layout)
    : chunks(sizeof(StepState)),
      bytes(chunks + align(layout.chunks() * static_cast<int64_t>(sizeof(ChunkSettings)))) {}

ValueId Ir::add(Value value) {
  double elements = 1;
  for (const Axis& axis : value.spec.axes) elements *= static_cast<double>(axis.physical());
  if (elements > kLargestTensor) {
    fail(ErrorCode::OutOfMemory, "%s would be %s: more than 2^40 elements; use fewer or shorter rows",
         value.name.c_str(), value.spec.describe().c_str());
  }
  values.push_back(std::move(value));
  return static_cast<ValueId>(values.size()) - 1;
}

ValueId Ir::once(const std::string& key, Value value) {
  const auto it = named_.find(key);
  if (it != named_.end()) return it->second;
  return named_[key] = add(std::move(value));
}

ValueId Ir::parameter(const std::string& name) {
  const ParameterSlot* slot = layout.find(name);
  return once("parameter " + name, {name, slot->spec, Arena::Parameters, slot->offset * 4});
}

ValueId Ir::halfCopy(const std::string& name) {
  const ParameterSlot* slot = layout.find(name);
  TensorSpec spec = slot->spec;
  spec.dtype = activationType(precision);
  return once("half " + name, {name, spec, Arena::HalfCopy, slot->offset * 2});
}

ValueId Ir::gradient(const std::string& name) {
  const ParameterSlot* slot = layout.find(name);
  return once("gradient " + name, {"d(" + name + ")", slot->spec, Arena::Gradients, slot->offset * 4});
}

ValueId Ir::gradientRange(int64_t begin, int64_t end) {
  const std::string name = "gradients " + std::to_string(begin) + " to " + std::to_string(end);
  return once(name, {name, {{countAxis("elements", end - begin)}, DType::F32}, Arena::Gradients, begin * 4});
}

ValueId Ir::stateValue(const std::string& name) {
  if (const StateValue* value = findStateValue(name))
    return once(name, {name, value->spec(), Arena::State, value->offset});
  if (name == "chunks") {
    return once(name, {name,
                       {{countAxis("chunk", layout.chunks()), countAxis("fields", 2)}, DType::F32},
                       Arena::State,
                       StateLayout(layout).chunks});
  }
  for (Arena arena :
       {Arena::Parameters, Arena::HalfCopy, Arena::Gradients, Arena::Moment1, Arena::Moment2, Arena::Ema}) {
    if (name != arenaName(arena)) continue;
    const DType type = arena == Arena::HalfCopy ? activationType(precision) : DType::F32;
    return once(name, {name, {{countAxis("elements", layout.elements)}, type}, arena, 0});
  }
  const auto it = named_.find(name);
  if (it == named_.end()) fail(ErrorCode::Internal, "unknown State value '%s'", name.c_str());
  return it->second;
}

ValueId Ir::session(const std::string& name, TensorSpec spec) {
  const auto it = named_.find(name);
  if (it != named_.end()) return it->second;
  const int64_t offset = sessionBytes;
  sessionBytes += align(spec.bytes());
  return once(name, {name, std::move(spec), Arena::Session, offset});
}

ValueId Ir::cache(TensorSpec spec) { return once("cache", {"cache", std::move(spec), Arena::Cache, 0}); }

std::vector<ValueId> Ir::emit(const std::string& operationName, const std::string& name,
                              const std::string& site, std::vector<ValueId> inputs, Attributes attributes,
                              std::vector<ValueId> presets) {
  Node node;
  node.op = &operation(operationName);
  node.name = name;
  node.site = site;
  node.inputs = std::move(inputs);
  node.inputs.resize(node.op->inputs.size(), kAbsent);
  node.attributes = std::move(attributes);
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == kAbsent && !isOptional(node.op->inputs[i])) {
      if (tesserae::isState(node.op->inputs[i])) {
        node.inputs[i] = stateValue(slotName(node.op->inputs[i]));
      } else {
        fail(ErrorCode::Shape, "%s (%s): the input '%s' is missing", name.c_str(), operationName.c_str(),
             slotName(node.op->inputs[i]).c_str());
      }
    }
  }
  Inference inference(*this, node);
  node.op->infer(inference);
  presets.resize(node.op->outputs.size(), kNew);
  for (size_t i = 0; i < presets.size(); ++i) {
    if (presets[i] == kAbsent) continue;
    if (!inference.filled[i]) {
      if (presets[i] == kNew) presets[i] = kAbsent;
      continue;
    }
    if (presets[i] == kNew && tesserae::isState(node.op->outputs[i]))
      presets[i] = stateValue(slotName(node.op->outputs[i]));
    if (presets[i] == kNew) {
      const std::string suffix = presets.size() == 1 || i == 0 ? "" : "." + slotName(node.op->outputs[i]);
      presets[i] = add({name + suffix, inference.outputs[i], Arena::Workspace, -1});
    } else if (values[presets[i]].spec.physicalElements() != inference.outputs[i].physicalElements()) {
      inference.reject("the output '" + slotName(node.op->outputs[i]) + "' would be " +
                       inference.outputs[i].describe() + ", its place is " +
                       values[presets[i]].spec.describe());
    }
  }
  node.outputs = presets;
  nodes.push_back(std::move(node));
  return presets;
}

bool Ir::isOutput(ValueId value) const {
  for (const auto& [role, output] : outputs) {
    if (output == value) return true;
  }
  return false;
}

bool Ir::isState(ValueId value) const {
  const Arena arena = values[value].arena;
  return arena != Arena::Inputs && arena != Arena::Outputs && arena != Arena::Workspace;
}

CallShape Ir::shapeOf(const Node& node) const {
  CallShape shape{{}, {}, node.attributes};
  for (ValueId id : node.inputs) shape.inputs.push_back(id == kAbsent ? nullptr : &values[id].spec);
  for (ValueId id : node.outputs) shape.outputs.push_back(id == kAbsent ? nullptr : &values[id].spec);
  return shape;
}

}  // namespace tesserae
