#include "compiler/use_index.h"

#include <algorithm>

namespace tesserae {

namespace {

void insert(std::vector<int>& nodes, int node) {
  const auto at = std::lower_bound(nodes.begin(), nodes.end(), node);
  if (at == nodes.end() || *at != node) nodes.insert(at, node);
}

void remove(std::vector<int>& nodes, int node) {
  const auto at = std::lower_bound(nodes.begin(), nodes.end(), node);
  if (at != nodes.end() && *at == node) nodes.erase(at);
}

}  // namespace

UseIndex::UseIndex(Ir& ir) : ir_(ir), alive_(ir.nodes.size(), true), uses_(ir.values.size()) {
  for (size_t i = 0; i < ir.nodes.size(); ++i) attach(static_cast<int>(i));
  for (const auto& [role, value] : ir.outputs) uses_[static_cast<size_t>(value)].isOutput = true;
}

int UseIndex::producer(ValueId value) const {
  if (value < 0 || ir_.isState(value)) return -1;
  const std::vector<int>& writers = uses_[static_cast<size_t>(value)].writers;
  return writers.empty() ? -1 : writers.front();
}

void UseIndex::replace(int node, Node by) {
  detach(node);
  ir_.nodes[static_cast<size_t>(node)] = std::move(by);
  attach(node);
}

void UseIndex::erase(int node) {
  detach(node);
  alive_[static_cast<size_t>(node)] = false;
}

void UseIndex::compact() {
  std::vector<Node> kept;
  for (size_t i = 0; i < ir_.nodes.size(); ++i) {
    if (alive_[i]) kept.push_back(std::move(ir_.nodes[i]));
  }
  ir_.nodes = std::move(kept);
}

void UseIndex::attach(int node) {
  const Node& call = ir_.nodes[static_cast<size_t>(node)];
  for (ValueId input : call.inputs) {
    if (input >= 0) insert(uses_[static_cast<size_t>(input)].readers, node);
  }
  for (ValueId output : call.outputs) {
    if (output >= 0) insert(uses_[static_cast<size_t>(output)].writers, node);
  }
}

void UseIndex::detach(int node) {
  const Node& call = ir_.nodes[static_cast<size_t>(node)];
  for (ValueId input : call.inputs) {
    if (input >= 0) remove(uses_[static_cast<size_t>(input)].readers, node);
  }
  for (ValueId output : call.outputs) {
    if (output >= 0) remove(uses_[static_cast<size_t>(output)].writers, node);
  }
}

}  // namespace tesserae
