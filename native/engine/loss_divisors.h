// What the gradient of each loss's sum is divided by.
#pragma once

#include "compiler/graph.h"
#include "engine/executor.h"
#include "ops/state.h"

namespace tesserae {

// The targets of a loss in the micro-batches of a step.
struct TargetCount {
  double all = 0;
  double valid = 0;  // counted for a Graph with several losses alone
};
using TargetCounts = std::array<TargetCount, kMostLosses>;

TargetCounts countTargets(const Graph& graph, const std::vector<HostBatch>& microBatches);

// For a step with these targets, those of all ranks. A Graph with one loss: its targets, valid or not, since
// gradient_norm divides by the valid ones, which the device counts. With several: valid targets ÷ weight, so
// that gradients add up to those of the weighted sum of means. Infinite for a loss without valid targets.
LossDivisors lossDivisors(const Graph& graph, const TargetCounts& targets);

}  // namespace tesserae
