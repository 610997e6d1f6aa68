// The Graph of lib/graph/graph.ts as native code sees it: checked, with physical extents by the padding
// policy.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/padding.h"
#include "ops/attributes.h"
#include "runtime/axis.h"

namespace tesserae {

struct Initializer {
  enum Type { Normal, Constant, Sinusoidal } type = Constant;
  double value = 0;  // standard deviation or constant
};

struct GraphParameter {
  std::string name;
  Axes axes;
  Initializer init;
  bool decay = false, trainable = true, saved = true, transposedInFiles = false;
};

struct GraphInput {
  enum Kind {
    Ids,        // int32 in [0, below), or `ignored`
    Lengths,    // int32 (batch): positions of each row along the length axis `measures`
    Starts,     // int32 (batch, length): where each position's document starts
    Positions,  // int32 (batch, length): for each position one along the length axis `measures`, or its end
    Values,     // float32 or uint8
  };
  std::string name;
  Kind kind = Ids;
  Axes axes;
  DType dtype = DType::I32;
  int64_t below = 0;
  std::optional<int64_t> ignored;
  std::string measures;
  bool optional = false;  // read by programs for packed rows alone
};

struct GraphNode {
  std::string name, op;
  std::map<std::string, std::string> inputs;  // slot → value
  Attributes attributes;
};

// A value that training makes small.
struct GraphLoss {
  std::string output;  // its role
  std::string value;   // a node of cross_entropy
  double weight = 1;   // of its mean in what is trained
};

struct Graph {
  std::string name;
  std::vector<std::string> lengthAxes;  // those whose extents a Capacity gives
  std::vector<Axis> axes;
  std::vector<GraphParameter> parameters;
  std::vector<GraphInput> inputs;
  std::vector<GraphNode> nodes;
  std::map<std::string, std::string> outputs;  // role → value
  std::vector<GraphLoss> losses;               // at most kMostLosses; the first is the one that is reported
  const GraphInput* findInput(const std::string& name) const;
  const GraphNode* findNode(const std::string& name) const;
};

// Throws ERR_CONFIG for anything that is not a Graph of version 2 within its limits: names, axes, references
// to later or unknown values. Shapes are checked when a Program is compiled.
Graph parseGraph(std::string_view text, const PaddingPolicy& padding);

}  // namespace tesserae
