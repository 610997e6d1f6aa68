#include "compiler/layout.h"

#include <algorithm>
#include <map>

#include "runtime/philox.h"

namespace tesserae {

const ParameterSlot* Layout::find(const std::string& name) const {
  const auto it = slotOf.find(name);
  return it == slotOf.end() ? nullptr : &slots[it->second];
}

Layout makeLayout(const Graph& graph) {
  std::map<std::string, size_t> firstUse;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const auto& [slot, value] : graph.nodes[i].inputs) firstUse.emplace(value, i);
  }
  std::vector<const GraphParameter*> order;
  for (const GraphParameter& parameter : graph.parameters) order.push_back(&parameter);
  const auto use = [&](const GraphParameter* p) {
    const auto it = firstUse.find(p->name);
    return it == firstUse.end() ? graph.nodes.size() : it->second;
  };
  std::stable_sort(order.begin(), order.end(), [&](auto* a, auto* b) { return use(a) > use(b); });

  Layout layout;
  std::string text;
  for (const GraphParameter* parameter : order) {
    ParameterSlot slot{parameter, {parameter->axes, DType::F32}, layout.elements, 0};
    slot.chunks = (slot.spec.physicalElements() + kChunkElements - 1) / kChunkElements;
    layout.elements += slot.chunks * kChunkElements;
    text += parameter->name + " " + slot.spec.describe() + " @" + std::to_string(slot.offset) + "\n";
    layout.slotOf[parameter->name] = layout.slots.size();
    layout.slots.push_back(std::move(slot));
  }
  layout.hash = hashName(text.data(), static_cast<int64_t>(text.size()));
  return layout;
}

}  // namespace tesserae
