#include "engine/loss_divisors.h"

#include <algorithm>
#include <limits>

namespace tesserae {

namespace {

double validTargets(const GraphNode& loss, const std::vector<HostBatch>& microBatches) {
  const int64_t ignored = loss.attributes.integer("ignoreIndex", -100);
  double valid = 0;
  for (const HostBatch& batch : microBatches) {
    const HostTensor& targets = batch.at(loss.inputs.at("targets"));
    const int32_t* const first = reinterpret_cast<const int32_t*>(targets.data.data());
    valid += static_cast<double>(
        std::count_if(first, first + targets.elements(), [&](int32_t target) { return target != ignored; }));
  }
  return valid;
}

}  // namespace

LossDivisors lossDivisors(const Graph& graph, const Capacity& capacity,
                          const std::vector<HostBatch>& microBatches) {
  LossDivisors divisors;
  divisors.fill(1);
  if (graph.losses.size() == 1) {
    divisors[0] =
        static_cast<double>(capacity.rows * capacity.time * static_cast<int64_t>(microBatches.size()));
    return divisors;
  }
  for (size_t i = 0; i < graph.losses.size(); ++i) {
    const GraphLoss& loss = graph.losses[i];
    const double valid = validTargets(*graph.findNode(loss.value), microBatches);
    divisors[i] = valid > 0 ? valid / loss.weight : std::numeric_limits<double>::infinity();
  }
  return divisors;
}

}  // namespace tesserae
