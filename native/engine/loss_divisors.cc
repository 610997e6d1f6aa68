#include "engine/loss_divisors.h"

#include <algorithm>
#include <limits>

namespace tesserae {

TargetCounts countTargets(const Graph& graph, const std::vector<HostBatch>& microBatches) {
  TargetCounts counts;
  const bool several = graph.losses.size() > 1;
  for (size_t i = 0; i < graph.losses.size(); ++i) {
    const GraphNode& loss = *graph.findNode(graph.losses[i].value);
    const int64_t ignored = loss.attributes.integer("ignoreIndex", -100);
    for (const HostBatch& batch : microBatches) {
      const auto found = batch.find(loss.inputs.at("targets"));
      if (found == batch.end()) continue;  // a Program that does not compute the loss
      const int64_t elements = found->second.elements();
      counts[i].all += static_cast<double>(elements);
      if (!several) continue;
      const int32_t* const first = reinterpret_cast<const int32_t*>(found->second.data.data());
      counts[i].valid += static_cast<double>(
          std::count_if(first, first + elements, [&](int32_t target) { return target != ignored; }));
    }
  }
  return counts;
}

LossDivisors lossDivisors(const Graph& graph, const TargetCounts& targets) {
  LossDivisors divisors;
  divisors.fill(1);
  const bool several = graph.losses.size() > 1;
  for (size_t i = 0; i < graph.losses.size(); ++i) {
    const auto [all, valid] = targets[i];
    if (several) {
      divisors[i] = valid > 0 ? valid / graph.losses[i].weight : std::numeric_limits<double>::infinity();
    } else if (all > 0) {
      divisors[i] = all;
    }
  }
  return divisors;
}

}  // namespace tesserae
