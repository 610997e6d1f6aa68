// Dead calls, order, and who stores and who adds.
#include <algorithm>
#include <set>

#include "compiler/passes.h"
#include "compiler/state_hazards.h"
#include "runtime/error.h"

namespace tesserae {

void removeDeadNodes(Ir& ir) {
  std::set<ValueId> needed;
  for (const auto& [role, value] : ir.outputs) needed.insert(value);
  std::vector<bool> alive(ir.nodes.size(), false);
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = ir.nodes.size(); i-- > 0;) {
      if (alive[i]) continue;
      for (ValueId output : ir.nodes[i].outputs) {
        if (output != kAbsent && (needed.count(output) || ir.isState(output))) alive[i] = true;
      }
      if (!alive[i]) continue;
      changed = true;
      for (ValueId input : ir.nodes[i].inputs) needed.insert(input);
    }
  }
  std::vector<Node> kept;
  for (size_t i = 0; i < ir.nodes.size(); ++i) {
    if (alive[i]) kept.push_back(std::move(ir.nodes[i]));
  }
  ir.nodes = std::move(kept);
  for (Node& node : ir.nodes) {
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId output = node.outputs[i];
      if (output == kAbsent || ir.isState(output) || needed.count(output)) continue;
      if (isOptional(node.op->outputs[i])) node.outputs[i] = kAbsent;
    }
  }
}

void schedule(Ir& ir) {
  const size_t n = ir.nodes.size();
  std::vector<std::set<size_t>> after(n);  // nodes that must run before
  std::map<ValueId, size_t> writer;
  for (size_t i = 0; i < n; ++i) {
    for (ValueId output : ir.nodes[i].outputs) {
      if (output != kAbsent && !ir.isState(output)) writer[output] = i;
    }
  }
  StateHazards hazards;
  for (size_t i = 0; i < n; ++i) {
    for (ValueId input : ir.nodes[i].inputs) {
      if (input == kAbsent) continue;
      if (ir.isState(input)) {
        hazards.read(i, ir.values[input], after[i]);
      } else if (const auto it = writer.find(input); it != writer.end()) {
        after[i].insert(it->second);
      }
    }
    for (ValueId output : ir.nodes[i].outputs) {
      if (output != kAbsent && ir.isState(output)) hazards.write(i, ir.values[output], after[i]);
    }
  }
  // Always the earliest call that can run: the order of the passes is kept where it may be.
  std::vector<std::vector<size_t>> before(n);
  std::vector<size_t> waiting(n);
  std::set<size_t> ready;
  for (size_t i = 0; i < n; ++i) {
    waiting[i] = after[i].size();
    if (waiting[i] == 0) ready.insert(i);
    for (size_t j : after[i]) before[j].push_back(i);
  }
  std::vector<Node> order;
  while (!ready.empty()) {
    const size_t i = *ready.begin();
    ready.erase(ready.begin());
    order.push_back(std::move(ir.nodes[i]));
    for (size_t j : before[i]) {
      if (--waiting[j] == 0) ready.insert(j);
    }
  }
  if (order.size() != n) fail(ErrorCode::Internal, "dependency cycle between the calls of a program");
  ir.nodes = std::move(order);
}

void assignWrites(Ir& ir) {
  std::set<ValueId> written;
  for (Node& node : ir.nodes) {
    node.writes.clear();
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId output = node.outputs[i];
      const bool isLoss = slotName(node.op->outputs[i]) == "loss" && isState(node.op->outputs[i]);
      const bool accumulates = output != kAbsent && node.op->lane == Lane::Compute &&
                               (isLoss || ir.values[output].arena == Arena::Gradients);
      if (!accumulates) {
        node.writes.push_back(WriteMode::Store);
      } else {
        node.writes.push_back(written.insert(output).second ? WriteMode::StoreOrAdd : WriteMode::Add);
      }
    }
  }
}

}  // namespace tesserae
