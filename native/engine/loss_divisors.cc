#include "engine/loss_divisors.h"

#include <algorithm>
#include <limits>

namespace tesserae {

namespace {

struct Targets {
  double all = 0, valid = 0;
};

// Of all micro-batches; none where a Program that does not compute the loss came without them.
Targets countTargets(const GraphNode& loss, const std::vector<HostBatch>& microBatches, bool valid) {
  const int64_t ignored = loss.attributes.integer("ignoreIndex", -100);
  Targets count;
  for (const HostBatch& batch : microBatches) {
    const auto found = batch.find(loss.inputs.at("targets"));
    if (found == batch.end()) continue;
    const int64_t elements = found->second.elements();
    count.all += static_cast<double>(elements);
    if (!valid) continue;
    const int32_t* const first = reinterpret_cast<const int32_t*>(found->second.data.data());
    count.valid += static_cast<double>(
        std::count_if(first, first + elements, [&](int32_t target) { return target != ignored; }));
  }
  return count;
}

}  // namespace

LossDivisors lossDivisors(const Graph& graph, const std::vector<HostBatch>& microBatches) {
  LossDivisors divisors;
  divisors.fill(1);
  const bool several = graph.losses.size() > 1;
  for (size_t i = 0; i < graph.losses.size(); ++i) {
    const GraphLoss& loss = graph.losses[i];
    const Targets targets = countTargets(*graph.findNode(loss.value), microBatches, several);
    if (several) {
      divisors[i] = targets.valid > 0 ? targets.valid / loss.weight : std::numeric_limits<double>::infinity();
    } else if (targets.all > 0) {
      divisors[i] = targets.all;
    }
  }
  return divisors;
}

}  // namespace tesserae
