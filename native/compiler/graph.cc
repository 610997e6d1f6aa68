#include "compiler/graph.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "compiler/json.h"
#include "ops/registry.h"
#include "ops/state.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

constexpr int64_t kLargestFactor = int64_t{1} << 31;
constexpr int64_t kLargestTensor = int64_t{1} << 40;  // elements
constexpr size_t kMostEntries = 100000;

std::string at(const char* list, size_t index) {
  return std::string("graph.") + list + "[" + std::to_string(index) + "]";
}

class Parser {
 public:
  Parser(const Json& json, const PaddingPolicy& padding) : json_(json), padding_(padding) {}

  Graph parse() {
    onlyKeys(json_, "graph",
             {"format", "version", "name", "lengthAxes", "axes", "parameters", "inputs", "nodes", "outputs",
              "losses"});
    if (textField(json_, "format", "graph") != "tesserae.graph") {
      fail(ErrorCode::Config, "graph.format must be 'tesserae.graph'");
    }
    integerField(json_, "version", "graph", 2, 2);
    graph_.name = textField(json_, "name", "graph");
    axes_["batch"] = {"batch", {{1, 1, FactorRole::Batch}}};
    parseLengthAxes();
    parseAxes();
    parseParameters();
    parseInputs();
    parseNodes();
    for (const auto& [role, value] : objectField(json_, "outputs", "graph").items()) {
      if (!value.is_string() || !values_.count(value.get<std::string>())) {
        fail(ErrorCode::Config, "graph.outputs.%s does not name a value of the graph", role.c_str());
      }
      graph_.outputs[role] = value.get<std::string>();
    }
    parseLosses();
    return std::move(graph_);
  }

 private:
  void parseLengthAxes() {
    for (const Json& json : arrayField(json_, "lengthAxes", "graph", 4)) {
      const std::string name = json.is_string() ? json.get<std::string>() : "";
      if (name.empty() || !axes_.emplace(name, Axis{name, {{1, 1, FactorRole::Length}}}).second) {
        fail(ErrorCode::Config, "graph.lengthAxes must hold distinct names of axes, not %s",
             json.dump().c_str());
      }
      graph_.lengthAxes.push_back(name);
    }
  }

  void parseAxes() {
    const Json& list = arrayField(json_, "axes", "graph", kMostEntries);
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string where = at("axes", i);
      onlyKeys(list[i], where, {"name", "factors"});
      Axis axis;
      axis.name = textField(list[i], "name", where);
      const Json& factors = arrayField(list[i], "factors", where, 4);
      if (factors.empty()) fail(ErrorCode::Config, "%s.factors is empty", where.c_str());
      int64_t product = 1;
      for (const Json& json : factors) {
        onlyKeys(json, where + ".factors", {"size", "role"});
        Factor factor;
        factor.role = parseRole(textField(json, "role", where + ".factors"));
        if (factor.role == FactorRole::Batch || factor.role == FactorRole::Length) {
          fail(ErrorCode::Config,
               "%s: a batch decides the extent of batch and lengthAxes; don't declare them", where.c_str());
        }
        factor.logical = integerField(json, "size", where + ".factors", 1, kLargestFactor);
        const int64_t multiple = padding_.multipleOf(factor.role);
        factor.physical = (factor.logical + multiple - 1) / multiple * multiple;
        product *= factor.physical;
        if (product > kLargestFactor) fail(ErrorCode::Config, "%s is longer than 2^31", where.c_str());
        axis.factors.push_back(factor);
      }
      if (!axes_.emplace(axis.name, axis).second) {
        fail(ErrorCode::Config, "%s.name '%s' is used twice", where.c_str(), axis.name.c_str());
      }
      graph_.axes.push_back(axis);
    }
  }

  Axes axesOf(const Json& object, const std::string& where) {
    Axes axes;
    double elements = 1;
    for (const Json& name : arrayField(object, "axes", where, 4)) {
      const auto it = name.is_string() ? axes_.find(name.get<std::string>()) : axes_.end();
      if (it == axes_.end())
        fail(ErrorCode::Config, "%s.axes names an unknown axis: %s", where.c_str(), name.dump().c_str());
      axes.push_back(it->second);
      elements *= static_cast<double>(it->second.physical());
    }
    if (elements > static_cast<double>(kLargestTensor))
      fail(ErrorCode::Config, "%s has more than 2^40 elements", where.c_str());
    return axes;
  }

  void claim(const std::string& name, const std::string& where) {
    if (!values_.insert(name).second)
      fail(ErrorCode::Config, "%s.name '%s' is used twice", where.c_str(), name.c_str());
  }

  void parseParameters() {
    const Json& list = arrayField(json_, "parameters", "graph", kMostEntries);
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string where = at("parameters", i);
      const Json& json = list[i];
      onlyKeys(json, where, {"name", "axes", "init", "decay", "trainable", "saved", "transposedInFiles"});
      GraphParameter parameter;
      parameter.name = textField(json, "name", where);
      claim(parameter.name, where);
      parameters_.insert(parameter.name);
      parameter.axes = axesOf(json, where);
      for (const Axis& axis : parameter.axes) {
        if (isBound(axis)) {
          fail(ErrorCode::Config, "%s.axes: a parameter can't have the axis %s", where.c_str(),
               axis.name.c_str());
        }
      }
      if (parameter.axes.empty()) fail(ErrorCode::Config, "%s.axes is empty", where.c_str());
      parameter.init = initializer(objectField(json, "init", where), where + ".init");
      if (parameter.init.type == Initializer::Sinusoidal && parameter.axes.size() != 2) {
        fail(ErrorCode::Config, "%s.init sinusoidal needs two axes: positions and features", where.c_str());
      }
      parameter.decay = flagField(json, "decay", where, false);
      parameter.trainable = flagField(json, "trainable", where, true);
      parameter.saved = flagField(json, "saved", where, true);
      parameter.transposedInFiles = flagField(json, "transposedInFiles", where, false);
      if (parameter.transposedInFiles && parameter.axes.size() != 2) {
        fail(ErrorCode::Config, "%s: only a parameter of two axes can be transposed in files", where.c_str());
      }
      graph_.parameters.push_back(std::move(parameter));
    }
  }

  static Initializer initializer(const Json& json, const std::string& where) {
    const std::string type = textField(json, "type", where);
    if (type == "normal") return {Initializer::Normal, numberField(json, "std", where)};
    if (type == "constant") return {Initializer::Constant, numberField(json, "value", where)};
    if (type == "sinusoidal") return {Initializer::Sinusoidal, 0};
    fail(ErrorCode::Config, "%s.type '%s' is unknown: use normal, constant or sinusoidal", where.c_str(),
         type.c_str());
  }

  void parseInputs() {
    const Json& list = arrayField(json_, "inputs", "graph", 64);
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string where = at("inputs", i);
      GraphInput input;
      input.name = textField(list[i], "name", where);
      claim(input.name, where);
      input.axes = axesOf(list[i], where);
      parseKind(list[i], where, input);
      input.optional = flagField(list[i], "optional", where, false);
      graph_.inputs.push_back(std::move(input));
    }
  }

  static bool isBound(const Axis& axis) {
    const FactorRole role = axis.factors[0].role;
    return role == FactorRole::Batch || role == FactorRole::Length;
  }

  std::string measuredAxis(const Json& json, const std::string& where) const {
    const std::string axis = textField(json, "measures", where);
    const auto& known = graph_.lengthAxes;
    if (std::find(known.begin(), known.end(), axis) == known.end())
      fail(ErrorCode::Config, "%s.measures '%s' is not one of graph.lengthAxes", where.c_str(), axis.c_str());
    return axis;
  }

  void parseKind(const Json& json, const std::string& where, GraphInput& input) const {
    const std::string kind = textField(json, "kind", where);
    const auto hasRoles = [&](std::initializer_list<FactorRole> roles) {
      return std::equal(input.axes.begin(), input.axes.end(), roles.begin(), roles.end(),
                        [](const Axis& axis, FactorRole role) { return axis.factors[0].role == role; });
    };
    if (kind == "ids") {
      onlyKeys(json, where, {"name", "kind", "axes", "below", "ignored", "optional"});
      input.kind = GraphInput::Ids;
      input.below = integerField(json, "below", where, 1, INT32_MAX);
      if (json.contains("ignored"))
        input.ignored = integerField(json, "ignored", where, INT32_MIN, INT32_MAX);
    } else if (kind == "lengths") {
      onlyKeys(json, where, {"name", "kind", "axes", "measures", "optional"});
      input.kind = GraphInput::Lengths;
      input.measures = measuredAxis(json, where);
      if (!hasRoles({FactorRole::Batch}))
        fail(ErrorCode::Config, "%s: lengths must have only the axis batch", where.c_str());
    } else if (kind == "starts") {
      onlyKeys(json, where, {"name", "kind", "axes", "optional"});
      input.kind = GraphInput::Starts;
      if (!hasRoles({FactorRole::Batch, FactorRole::Length}))
        fail(ErrorCode::Config, "%s: starts must have the axes batch and one of graph.lengthAxes",
             where.c_str());
    } else if (kind == "positions") {
      onlyKeys(json, where, {"name", "kind", "axes", "measures", "optional"});
      input.kind = GraphInput::Positions;
      input.measures = measuredAxis(json, where);
      if (!hasRoles({FactorRole::Batch, FactorRole::Length}))
        fail(ErrorCode::Config, "%s: positions must have the axes batch and one of graph.lengthAxes",
             where.c_str());
    } else if (kind == "values") {
      onlyKeys(json, where, {"name", "kind", "axes", "dtype", "optional"});
      input.kind = GraphInput::Values;
      input.dtype = parseDType(textField(json, "dtype", where));
      if (input.dtype != DType::F32 && input.dtype != DType::U8)
        fail(ErrorCode::Config, "%s.dtype must be float32 or uint8", where.c_str());
    } else {
      fail(ErrorCode::Config, "%s.kind '%s' is unknown: use ids, lengths, starts, positions or values",
           where.c_str(), kind.c_str());
    }
  }

  void parseNodes() {
    const Json& list = arrayField(json_, "nodes", "graph", kMostEntries);
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string where = at("nodes", i);
      onlyKeys(list[i], where, {"name", "op", "inputs", "attributes"});
      GraphNode node;
      node.name = textField(list[i], "name", where);
      node.op = textField(list[i], "op", where);
      const Operation* op = operations().find(node.op);
      if (!op || touchesState(*op) || isBackward(*op)) {
        fail(ErrorCode::Config, "%s.op '%s' is unknown", where.c_str(), node.op.c_str());
      }
      for (const auto& [slot, value] : objectField(list[i], "inputs", where).items()) {
        if (!value.is_string() || !values_.count(value.get<std::string>())) {
          fail(ErrorCode::Config, "%s.inputs.%s must name a parameter, an input or an earlier node, not %s",
               where.c_str(), slot.c_str(), value.dump().c_str());
        }
        if (slotIndex(op->inputs, slot) < 0) {
          fail(ErrorCode::Config, "%s: the operation '%s' has no input '%s'", where.c_str(), node.op.c_str(),
               slot.c_str());
        }
        node.inputs[slot] = value.get<std::string>();
      }
      checkSlots(node, *op, where);
      if (list[i].contains("attributes"))
        node.attributes = attributes(objectField(list[i], "attributes", where), where);
      claim(node.name, where);
      graph_.nodes.push_back(std::move(node));
    }
  }

  // The node of cross_entropy behind an output; null when another value is there.
  const GraphNode* lossNode(const std::string& output) const {
    const auto role = graph_.outputs.find(output);
    const GraphNode* node = role == graph_.outputs.end() ? nullptr : graph_.findNode(role->second);
    return node && node->op == "cross_entropy" ? node : nullptr;
  }

  // Without a list, the output 'loss' is the only one.
  void parseLosses() {
    if (!json_.contains("losses")) {
      if (const GraphNode* node = lossNode("loss")) graph_.losses.push_back({"loss", node->name, 1});
      return;
    }
    std::set<std::string> seen;
    const Json& list = arrayField(json_, "losses", "graph", kMostLosses);
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string where = at("losses", i);
      onlyKeys(list[i], where, {"output", "weight"});
      const std::string output = textField(list[i], "output", where);
      const double weight = numberField(list[i], "weight", where);
      const GraphNode* node = lossNode(output);
      if (!node || !seen.insert(node->name).second) {
        fail(ErrorCode::Config,
             "%s.output must name the output of a cross_entropy node that no other loss has, not '%s'",
             where.c_str(), output.c_str());
      }
      if (!(weight > 0) || weight > 1e6) {
        fail(ErrorCode::Config, "%s.weight is %g; it must be greater than 0 and at most 1e6", where.c_str(),
             weight);
      }
      graph_.losses.push_back({output, node->name, weight});
    }
    // The gradient of a loss that is alone is divided by what the device counts, which knows no weight.
    if (graph_.losses.size() == 1 && graph_.losses[0].weight != 1)
      fail(ErrorCode::Config, "graph.losses[0].weight is %g; a single loss must have the weight 1",
           graph_.losses[0].weight);
  }

  // Operations on State other than the loss and its random numbers are the compiler's own.
  static bool touchesState(const Operation& op) {
    for (const auto* slots : {&op.inputs, &op.outputs}) {
      for (const std::string& slot : *slots) {
        const std::string name = slotName(slot);
        if (isState(slot) && name != "counters" && name != "lossGradient" && name != "loss") return true;
      }
    }
    return false;
  }

  // Contracts emit these with the shapes that they need, which nothing else checks.
  static bool isBackward(const Operation& op) {
    return op.name.ends_with("_backward") || op.name.ends_with("_gradient");
  }

  // Every slot that the graph must fill is filled; weights and biases are parameters, and nothing else is:
  // gradients of parameters are written by the operation itself, those of activations flow on.
  void checkSlots(const GraphNode& node, const Operation& op, const std::string& where) const {
    for (const std::string& marked : op.inputs) {
      const std::string slot = slotName(marked);
      const auto it = node.inputs.find(slot);
      if (it == node.inputs.end()) {
        if (isOptional(marked) || isState(marked)) continue;
        fail(ErrorCode::Config, "%s: the operation '%s' needs the input '%s'", where.c_str(), node.op.c_str(),
             slot.c_str());
      }
      const GraphInput* input = graph_.findInput(it->second);
      if (input && input->optional && !isOptional(marked)) {
        fail(ErrorCode::Config, "%s: the operation '%s' needs the input '%s', but '%s' is optional",
             where.c_str(), node.op.c_str(), slot.c_str(), input->name.c_str());
      }
      requireKind(slot, input, where);
      const bool weight = slot == "weight" || slot == "bias";
      if (weight == (parameters_.count(it->second) != 0)) continue;
      fail(ErrorCode::Config,
           weight ? "%s.inputs.%s must name a parameter, not '%s'"
                  : "%s.inputs.%s can't name the parameter '%s': only weights and biases can",
           where.c_str(), slot.c_str(), it->second.c_str());
    }
  }

  // Kernels trust what the host checks of these kinds: they index keys by it.
  static void requireKind(const std::string& slot, const GraphInput* input, const std::string& where) {
    static const std::tuple<const char*, GraphInput::Kind, const char*> kinds[] = {
        {"lengths", GraphInput::Lengths, "lengths"}, {"starts", GraphInput::Starts, "starts"}};
    for (const auto& [name, kind, text] : kinds) {
      if (slot == name && (!input || input->kind != kind))
        fail(ErrorCode::Config, "%s.inputs.%s must name an input of the kind '%s'", where.c_str(), name,
             text);
    }
  }

  static Attributes attributes(const Json& json, const std::string& where) {
    Attributes result;
    for (const auto& [name, value] : json.items()) {
      if (value.is_boolean()) {
        result = result.with(name, value.get<bool>());
      } else if (value.is_number_integer()) {
        result =
            result.with(name, integerField(json, name.c_str(), where + ".attributes", INT64_MIN, INT64_MAX));
      } else if (value.is_number()) {
        result = result.with(name, value.get<double>());
      } else if (value.is_string()) {
        result = result.with(name, value.get<std::string>());
      } else {
        fail(ErrorCode::Config, "%s.attributes.%s must be a number, a string, true or false", where.c_str(),
             name.c_str());
      }
    }
    return result;
  }

  const Json& json_;
  const PaddingPolicy& padding_;
  Graph graph_;
  std::map<std::string, Axis> axes_;
  std::set<std::string> values_, parameters_;
};

}  // namespace

const GraphInput* Graph::findInput(const std::string& wanted) const {
  for (const GraphInput& input : inputs) {
    if (input.name == wanted) return &input;
  }
  return nullptr;
}

const GraphNode* Graph::findNode(const std::string& wanted) const {
  for (const GraphNode& node : nodes) {
    if (node.name == wanted) return &node;
  }
  return nullptr;
}

Graph parseGraph(std::string_view text, const PaddingPolicy& padding) {
  return Parser(parseJson(text, "the graph"), padding).parse();
}

}  // namespace tesserae
