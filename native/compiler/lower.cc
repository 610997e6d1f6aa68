// Graph → forward calls. What differs between modes is decided here: dropout and label smoothing only train,
// sampling attends to a cache and computes logits of the last position alone.
#include <algorithm>
#include <set>

#include "compiler/passes.h"
#include "ops/registry.h"
#include "ops/sampling.h"
#include "ops/state_values.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

// The extents of the Graph's length axes. Sampling moves along the only one. Throws ERR_CONFIG.
Capacity capacityIn(const Graph& graph, const ProgramRequest& request) {
  Capacity capacity = capacityOf(request);
  const auto* prefill = std::get_if<PrefillRequest>(&request);
  if (prefill || std::holds_alternative<DecodeRequest>(request)) {
    if (graph.lengthAxes.size() != 1)
      fail(ErrorCode::Config, "only a model with one length axis can be sampled; '%s' has %zu",
           graph.name.c_str(), graph.lengthAxes.size());
    capacity.lengths[graph.lengthAxes[0]] = prefill ? prefill->time : 1;
  }
  for (const std::string& axis : graph.lengthAxes) {
    if (!capacity.lengths.count(axis))
      fail(ErrorCode::Config, "request.lengths has no '%s', a length axis of the graph", axis.c_str());
  }
  for (const auto& [axis, length] : capacity.lengths) {
    if (std::find(graph.lengthAxes.begin(), graph.lengthAxes.end(), axis) == graph.lengthAxes.end())
      fail(ErrorCode::Config, "request.lengths.%s is not a length axis of the graph", axis.c_str());
  }
  return capacity;
}

class Lowering {
 public:
  Lowering(Ir& ir, const ProgramRequest& request)
      : ir_(ir),
        graph_(ir.graph),
        train_(std::get_if<TrainRequest>(&request)),
        eval_(std::get_if<EvalRequest>(&request)),
        prefill_(std::get_if<PrefillRequest>(&request)),
        decode_(std::get_if<DecodeRequest>(&request)),
        capacity_(capacityIn(ir.graph, request)),
        cache_(prefill_  ? prefill_->cache
               : decode_ ? decode_->cache
                         : 0),
        sampling_(prefill_ || decode_) {
    for (const GraphNode& node : graph_.nodes) {
      const auto weight = node.inputs.find("weight");
      if (node.op == "linear" && weight != node.inputs.end()) linearWeights_.insert(weight->second);
    }
  }

  void run() {
    std::map<std::string, std::string> wanted = roleValues(wantedRoles());
    if (train_) {
      for (const auto& [output, input] : train_->outputGradients) wanted.merge(roleValues({output}));
      for (const std::string& name : train_->gradientsOf) requireFloats(name);
    }
    if (sampling_) makeSession(ir_, capacity_.rows, cache_);
    const std::set<std::string> needed = ancestors(wanted);
    for (size_t i = 0; train_ && i < graph_.losses.size(); ++i) {
      if (needed.count(graph_.losses[i].value)) lowerLossGradient(i);
    }
    for (const GraphNode& node : graph_.nodes) {
      if (needed.count(node.name)) lowerNode(node);
    }
    for (const auto& [role, name] : wanted) {
      if (!sampling_) ir_.outputs[role] = value(name);
    }
  }

 private:
  std::vector<std::string> wantedRoles() const {
    if (sampling_) return {"logits"};
    const std::vector<std::string>& asked = train_ ? train_->outputs : eval_->outputs;
    if (!asked.empty()) return asked;
    std::vector<std::string> losses;
    for (const GraphLoss& loss : graph_.losses) losses.push_back(loss.output);
    if (losses.empty()) fail(ErrorCode::Config, "the graph '%s' has no loss", graph_.name.c_str());
    return losses;
  }

  void lowerLossGradient(size_t loss) {
    ir_.emit("loss_gradient", ofLoss("loss_gradient", loss), "loss_gradient",
             {ir_.stateValue("scaler"), ir_.stateValue(ofLoss("lossDivisor", loss))}, {},
             {ir_.stateValue(ofLoss("lossGradient", loss))});
  }

  // Which of the Graph's losses a node computes.
  size_t lossOf(const GraphNode& node) const {
    for (size_t i = 0; i < graph_.losses.size(); ++i) {
      if (graph_.losses[i].value == node.name) return i;
    }
    fail(ErrorCode::Config, "%s: the graph does not list it among its losses", node.name.c_str());
  }

  void requireFloats(const std::string& name) const {
    const GraphInput* input = graph_.findInput(name);
    if (input && input->dtype == DType::F32) return;
    fail(ErrorCode::Config, "request.gradientsOf: '%s' is not a float32 input of the graph", name.c_str());
  }

  std::map<std::string, std::string> roleValues(const std::vector<std::string>& roles) const {
    std::map<std::string, std::string> values;
    for (const std::string& role : roles) {
      const auto it = graph_.outputs.find(role);
      if (it == graph_.outputs.end()) {
        fail(ErrorCode::Config, "the graph '%s' has no output '%s'", graph_.name.c_str(), role.c_str());
      }
      values[role] = it->second;
    }
    return values;
  }

  std::set<std::string> ancestors(const std::map<std::string, std::string>& wanted) const {
    std::set<std::string> needed;
    for (const auto& [role, name] : wanted) needed.insert(name);
    for (size_t i = graph_.nodes.size(); i-- > 0;) {
      if (!needed.count(graph_.nodes[i].name)) continue;
      for (const auto& [slot, name] : graph_.nodes[i].inputs) needed.insert(name);
    }
    return needed;
  }

  Axes bind(Axes axes) const {
    for (Axis& axis : axes) {
      for (Factor& factor : axis.factors) {
        if (factor.role == FactorRole::Batch) factor.logical = factor.physical = capacity_.rows;
        if (factor.role == FactorRole::Length)
          factor.logical = factor.physical = capacity_.lengths.at(axis.name);
      }
    }
    return axes;
  }

  Axis batchAxis() const { return bind({{"batch", {{1, 1, FactorRole::Batch}}}})[0]; }

  // Whether the Program is compiled without this input.
  bool isLeftOut(const std::string& name) const {
    const GraphInput* input = graph_.findInput(name);
    return input && input->optional && !capacity_.documents;
  }

  // The value of a name: computed already, or an input or a parameter at its first use.
  ValueId value(const std::string& name) {
    const auto it = values_.find(name);
    if (it != values_.end()) return it->second;
    if (isLeftOut(name))
      fail(ErrorCode::Config, "only programs with documents read the optional input '%s'", name.c_str());
    if (const GraphInput* input = graph_.findInput(name)) return values_[name] = inputValue(*input);
    if (ir_.layout.find(name)) return ir_.parameter(name);
    fail(ErrorCode::Internal, "the value '%s' has not been lowered", name.c_str());
  }

  ValueId inputValue(const GraphInput& input) {
    if (sampling_ && input.kind == GraphInput::Lengths) return ir_.stateValue("lengths");
    const bool typed = input.name == "types" || input.name == "subtypes";
    if (sampling_ && input.name != "tokens" && !typed) {
      fail(ErrorCode::Config, "a model with the input '%s' can't be sampled from token ids alone",
           input.name.c_str());
    }
    if (decode_) {
      const ValueId next = ir_.stateValue("next");
      if (!typed) return next;
      return ir_.emit("token_types", input.name, input.name,
                      {next, ir_.stateValue("start"), ir_.stateValue(input.name + "Of"),
                       ir_.stateValue(input.name + "At")},
                      {})[0];
    }
    const ValueId given = ir_.add({input.name, {bind(input.axes), input.dtype}, Arena::Inputs, -1});
    if (input.kind != GraphInput::Values || input.dtype == activationType(ir_.precision)) return given;
    return ir_.emit("convert", input.name, input.name, {given}, {})[0];
  }

  // Matrix products read the 16-bit copy where the precision has one; so does an embedding tied to one.
  ValueId operand(const GraphNode& node, const std::string& slot, const std::string& name) {
    const bool reads16Bit = node.op == "linear" || node.op == "embedding";
    if (reads16Bit && slot == "weight" && linearWeights_.count(name) && ir_.layout.find(name) &&
        hasHalfCopy(ir_.precision))
      return ir_.halfCopy(name);
    return value(name);
  }

  void lowerNode(const GraphNode& node) {
    if (node.op == "dropout" && !train_) {
      values_[node.name] = value(node.inputs.at("x"));
      return;
    }
    Attributes attributes = node.attributes;
    const bool drops = train_ && attributes.number("dropout", 0) > 0;
    if (!drops) attributes = attributes.without("dropout");
    if (node.op == "cross_entropy" && train_ && train_->labelSmoothing > 0) {
      attributes = attributes.with("labelSmoothing", train_->labelSmoothing);
    }
    if (node.op == "attention" && sampling_) {
      values_[node.name] = cachedAttention(node, attributes);
      return;
    }
    const Operation& op = operation(node.op);
    std::vector<ValueId> inputs;
    for (const std::string& marked : op.inputs) {
      const std::string slot = slotName(marked);
      const auto it = node.inputs.find(slot);
      if (it != node.inputs.end() && !isLeftOut(it->second)) {
        inputs.push_back(operand(node, slot, it->second));
      } else if (slot == "counters" && isOptional(marked) && drops) {
        inputs.push_back(ir_.stateValue("counters"));
      } else if (slot == "lossGradient" && train_) {
        inputs.push_back(ir_.stateValue(ofLoss("lossGradient", lossOf(node))));
      } else if (slot == "start" && sampling_) {
        inputs.push_back(ir_.stateValue("start"));
      } else {
        inputs.push_back(kAbsent);
      }
    }
    // An activation is a call of its own until the rewrite finds a kernel that runs it with the product.
    const std::string activation = node.op == "linear" ? attributes.text("activation") : "";
    attributes = attributes.without("activation");
    if (node.op == "embedding") requireBelow(node, "ids", ir_.values[inputs[1]].spec.axes[0]);
    if (node.op == "cross_entropy") requireBelow(node, "targets", ir_.values[inputs[0]].spec.axes.back());
    if (sampling_ && node.op == "position_embedding") requirePositions(node);
    std::vector<ValueId> outputs;
    if (node.op == "cross_entropy") outputs = {ir_.stateValue(ofLoss("loss", lossOf(node)))};
    // A sequence's tokens must not depend on those that are sampled beside it.
    if (sampling_ && node.op == "linear")
      attributes =
          attributes.with("rowInvariant", true).with("rowsOfSequence", capacity_.lengths.begin()->second);
    if (sampling_ && node.name == graph_.outputs.at("logits")) {
      if (node.op != "linear")
        fail(ErrorCode::Config, "%s: only logits of a linear layer can be sampled", node.name.c_str());
      if (prefill_) inputs[0] = lastPosition(inputs[0]);
      // 16-bit logits would make near ones equal.
      attributes = attributes.with("result", std::string("float32"));
      outputs = {ir_.stateValue("logits")};
    }
    ValueId result =
        ir_.emit(node.op, node.name, node.name, std::move(inputs), std::move(attributes), outputs)[0];
    if (!activation.empty())
      result = ir_.emit("activation", node.name, node.name, {result}, {{"function", activation}})[0];
    values_[node.name] = result;
  }

  // Ids are checked against their input's range when a batch comes; the range must be within the table's.
  void requireBelow(const GraphNode& node, const char* slot, const Axis& table) const {
    const GraphInput* input = graph_.findInput(node.inputs.at(slot));
    if (input && input->kind == GraphInput::Ids && input->below <= table.logical()) return;
    fail(ErrorCode::Shape,
         "%s (%s): %s must be an input with `below` of at most %lld, the size of the axis '%s'",
         node.name.c_str(), node.op.c_str(), slot, static_cast<long long>(table.logical()),
         table.name.c_str());
  }

  void requirePositions(const GraphNode& node) const {
    const int64_t positions = ir_.layout.find(node.inputs.at("weight"))->spec.axes[0].logical();
    if (cache_ <= positions) return;
    fail(ErrorCode::Config, "a cache of %lld positions is longer than the model's %lld",
         static_cast<long long>(cache_), static_cast<long long>(positions));
  }

  ValueId cachedAttention(const GraphNode& node, const Attributes& attributes) {
    if (!attributes.flag("causal")) {
      fail(ErrorCode::Config, "%s: only causal attention can be sampled token by token", node.name.c_str());
    }
    const auto operandOr = [&](const char* slot) {
      const auto it = node.inputs.find(slot);
      return it == node.inputs.end() ? kAbsent : value(it->second);
    };
    const ValueId qkv = operandOr("qkv"), q = operandOr("q"), kv = operandOr("kv");
    const ValueId keys = qkv == kAbsent ? kv : qkv;
    if (keys == kAbsent) fail(ErrorCode::Shape, "%s: attention reads qkv, or q and kv", node.name.c_str());
    const TensorSpec& spec = ir_.values[keys].spec;
    const std::vector<Factor>& packed = spec.axes.back().factors;
    if (packed.size() != 3) {
      fail(ErrorCode::Shape, "%s: keys must have the axis (3, heads, headDim) or (2, heads, headDim)",
           node.name.c_str());
    }
    const ValueId cache = cacheOf({"heads", {packed[1], packed[2]}}, spec.dtype);
    const Attributes layer = attributes.with("layer", layer_++);
    return ir_.emit("cached_attention", node.name, node.name,
                    {qkv, cache, ir_.stateValue("start"), ir_.stateValue("lengths"), q, kv}, layer,
                    {kNew, cache})[0];
  }

  // One cache for all layers, so that it grows at its end alone: (pages, layers, 2, B, positions of a page,
  // heads).
  ValueId cacheOf(Axis heads, DType type) {
    const auto layers = std::count_if(graph_.nodes.begin(), graph_.nodes.end(),
                                      [](const GraphNode& node) { return node.op == "attention"; });
    const int64_t pages = (cache_ + kPagePositions - 1) / kPagePositions;
    const TensorSpec spec{{countAxis("pages", pages), countAxis("layers", layers), countAxis("kv", 2),
                           batchAxis(), countAxis("positions", kPagePositions), std::move(heads)},
                          type};
    const ValueId cache = ir_.cache(spec);
    if (ir_.values[cache].spec.axes.back().fits(spec.axes.back())) return cache;
    fail(ErrorCode::Config,
         "layers of attention with heads of different sizes can't be sampled token by token");
  }

  ValueId lastPosition(ValueId x) {
    return ir_.emit("last_position", "last_position", "last_position", {x, ir_.stateValue("lengths")}, {})[0];
  }

  Ir& ir_;
  const Graph& graph_;
  // The request; null where it is of another mode.
  const TrainRequest* const train_;
  const EvalRequest* const eval_;
  const PrefillRequest* const prefill_;
  const DecodeRequest* const decode_;
  const Capacity capacity_;
  const int64_t cache_;  // positions; 0 unless sampling
  const bool sampling_;
  int64_t layer_ = 0;                    // of attention
  std::set<std::string> linearWeights_;  // what the Graph's linear layers multiply by
  std::map<std::string, ValueId> values_;
};

}  // namespace

void lower(Ir& ir, const ProgramRequest& request) { Lowering(ir, request).run(); }

void lowerUpdate(Ir& ir, const UpdateRequest& request) {
  const ValueId rates =
      ir.add({"learningRates", {{countAxis("step", request.scheduleSteps)}, DType::F32}, Arena::Schedule, 0});
  const ValueId norm = ir.stateValue("norm");
  ir.emit("gradient_norm", "gradient_norm", "update",
          {ir.stateValue("gradients"), ir.stateValue("losses"), ir.stateValue("lossGradient"), rates,
           ir.stateValue("counters"), ir.stateValue("scaler")},
          Attributes{}
              .with("maxGradNorm", request.maxGradNorm)
              .with("losses", static_cast<int64_t>(ir.graph.losses.size())),
          {norm});
  const Operation& optimizer = operation(request.optimizer);
  std::vector<ValueId> inputs(optimizer.inputs.size(), kAbsent);
  const auto give = [&](const char* slot, ValueId value) {
    if (const int at = slotIndex(optimizer.inputs, slot); at >= 0) inputs[static_cast<size_t>(at)] = value;
  };
  if (request.movesMomentum) {
    give("momenta", ir.add({"momenta",
                            {{countAxis("step", request.scheduleSteps)}, DType::F32},
                            Arena::Schedule,
                            request.momentaOffset()}));
  }
  if (request.movesMomentum || request.optimizerAttributes.number("momentum", 1) > 0)
    give("moment1", ir.stateValue("moment1"));
  ir.emit(request.optimizer, request.optimizer, "update", std::move(inputs), request.optimizerAttributes);
  if (request.emaDecay > 0) ir.emit("ema", "ema", "update", {}, Attributes{}.with("decay", request.emaDecay));
  if (request.lossScaleAttributes.has("growthFactor"))
    ir.emit("loss_scale", "loss_scale", "update", {}, request.lossScaleAttributes);
  ir.emit("advance_counters", "advance_counters", "update", {}, {});
}

}  // namespace tesserae
