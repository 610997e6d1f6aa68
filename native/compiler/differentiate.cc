// Reverse-mode differentiation: walks the forward calls backwards and lets each contract emit its backward
// calls.
#include <algorithm>
#include <set>

#include "compiler/passes.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

class Differentiation {
 public:
  Differentiation(Ir& ir, const TrainRequest& request) : ir_(ir), request_(request) {}

  void run() {
    for (const auto& [output, input] : request_.outputGradients) {
      const ValueId value = ir_.outputs.at(output);
      const ValueId gradient = inActivationType(inputNamed(input));
      if (ir_.values[gradient].spec.physicalElements() != ir_.values[value].spec.physicalElements()) {
        fail(ErrorCode::Shape, "request.outputGradients: the input '%s' does not have the shape of '%s'",
             input.c_str(), output.c_str());
      }
      flow(value, gradient);
    }
    for (const std::string& name : request_.gradientsOf) wanted_.insert(inputNamed(name));
    const size_t forward = ir_.nodes.size();
    findNeeds(forward);
    for (size_t i = forward; i-- > 0;) {
      // A copy: emitting appends to the list of nodes.
      const Node node = ir_.nodes[i];
      requireGradientRule(node);
      if (reached(node)) differentiate(node);
    }
    for (const std::string& name : request_.gradientsOf) {
      const ValueId gradient = total(inputNamed(name));
      if (gradient == kAbsent)
        fail(ErrorCode::Config, "request.gradientsOf: no gradient flows to '%s'", name.c_str());
      ir_.outputs["d(" + name + ")"] = gradient;
    }
  }

 private:
  class Context : public GradientContext {
   public:
    Context(Differentiation& owner, const Node& node) : owner_(owner), ir_(owner.ir_), node_(node) {}
    const Attributes& attributes() const override { return node_.attributes; }
    ValueId input(int input) const override { return node_.inputs[input]; }
    ValueId output(int output) override { return node_.outputs[output]; }
    bool needs(int input) const override {
      return node_.inputs[input] != kAbsent && owner_.needs_.count(node_.inputs[input]) != 0;
    }
    ValueId outputGradient(int output) override {
      return node_.outputs[output] == kAbsent ? kAbsent : owner_.total(node_.outputs[output]);
    }
    ValueId target(int input) override {
      if (!needs(input)) return kAbsent;
      const Value& value = ir_.values[node_.inputs[input]];
      return isParameter(value) ? ir_.gradient(value.name) : kNew;
    }
    std::vector<ValueId> emit(const std::string& operation, std::vector<ValueId> inputs,
                              Attributes attributes, std::vector<ValueId> outputs) override {
      return ir_.emit(operation, "d(" + node_.name + ")", node_.site, std::move(inputs),
                      std::move(attributes), std::move(outputs));
    }
    void flow(int input, ValueId gradient) override {
      if (!needs(input) || gradient == kAbsent || isParameter(ir_.values[node_.inputs[input]])) return;
      owner_.flow(node_.inputs[input], gradient);
    }

   private:
    Differentiation& owner_;
    Ir& ir_;
    const Node& node_;
  };

  static bool isParameter(const Value& value) {
    return value.arena == Arena::Parameters || value.arena == Arena::HalfCopy;
  }

  ValueId inputNamed(const std::string& name) {
    for (size_t i = 0; i < ir_.values.size(); ++i) {
      if (ir_.values[i].arena == Arena::Inputs && ir_.values[i].name == name) return static_cast<ValueId>(i);
    }
    const GraphInput* input = ir_.graph.findInput(name);
    if (!input) fail(ErrorCode::Config, "the graph has no input '%s'", name.c_str());
    // An input that only is a gradient has no forward reader, so it takes the shape of that gradient's value.
    for (const auto& [output, gradient] : request_.outputGradients) {
      if (gradient != name) continue;
      return ir_.add({name, {ir_.values[ir_.outputs.at(output)].spec.axes, DType::F32}, Arena::Inputs, -1});
    }
    fail(ErrorCode::Config, "the input '%s' is not used by the requested outputs", name.c_str());
  }

  ValueId inActivationType(ValueId given) {
    if (ir_.values[given].spec.dtype == activationType(ir_.precision)) return given;
    return ir_.emit("convert", ir_.values[given].name, "", {given}, {})[0];
  }

  // A gradient is needed by what depends on a trainable parameter or on an input whose gradient was asked
  // for.
  void findNeeds(size_t forward) {
    needs_ = wanted_;
    for (size_t i = 0; i < ir_.values.size(); ++i) {
      const Value& value = ir_.values[i];
      if (isParameter(value) && ir_.layout.find(value.name)->parameter->trainable &&
          !request_.frozen.count(value.name))
        needs_.insert(static_cast<ValueId>(i));
    }
    for (size_t i = 0; i < forward; ++i) {
      const Node& node = ir_.nodes[i];
      if (node.op->stopsGradient) continue;
      bool any = false;
      for (ValueId input : node.inputs) any = any || needs_.count(input) != 0;
      if (!any) continue;
      for (ValueId output : node.outputs) {
        if (output != kAbsent) needs_.insert(output);
      }
    }
  }

  // Whether a gradient comes into a node: from a consumer, or because it computes the loss.
  bool reached(const Node& node) const {
    if (!node.op->gradient || node.outputs.empty()) return false;
    for (ValueId output : node.outputs) {
      if (output == kAbsent || !needs_.count(output)) continue;
      if (flows_.count(output)) return true;
      if (request_.outputGradients.empty() && ir_.isState(output) && ir_.isOutput(output)) return true;
    }
    return false;
  }

  void differentiate(const Node& node) {
    Context context(*this, node);
    node.op->gradient(context);
  }

  // The sum of what flows into a value; kAbsent when nothing does.
  ValueId total(ValueId value) const {
    const auto it = flows_.find(value);
    return it == flows_.end() ? kAbsent : it->second;
  }

  // Adds to the sum at once, so that no value with many readers holds all their gradients.
  void flow(ValueId value, ValueId gradient) {
    const auto [it, isFirst] = flows_.try_emplace(value, gradient);
    if (isFirst) return;
    it->second = ir_.emit("add", "d(" + ir_.values[value].name + ").sum", "", {it->second, gradient}, {})[0];
  }

  // A gradient would end here, and all parameters before it would silently not be trained.
  void requireGradientRule(const Node& node) const {
    if (node.op->gradient || node.op->stopsGradient) return;
    const auto isNeeded = [&](ValueId value) { return value != kAbsent && needs_.count(value); };
    const auto hasGradient = [&](ValueId value) { return value != kAbsent && flows_.count(value); };
    if (std::any_of(node.outputs.begin(), node.outputs.end(), hasGradient) &&
        std::any_of(node.inputs.begin(), node.inputs.end(), isNeeded)) {
      fail(
          ErrorCode::Config,
          "%s: no gradient flows through '%s', so the parameters before it would not be trained; use another "
          "operation between them and the loss",
          node.name.c_str(), node.op->name.c_str());
    }
  }

  Ir& ir_;
  const TrainRequest& request_;
  std::set<ValueId> wanted_, needs_;
  std::map<ValueId, ValueId> flows_;  // the gradient of each value, as far as it has come
};

}  // namespace

void differentiate(Ir& ir, const TrainRequest& request) { Differentiation(ir, request).run(); }

}  // namespace tesserae
