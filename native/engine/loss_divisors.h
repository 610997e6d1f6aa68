// What the gradient of each loss's sum is divided by.
#pragma once

#include "compiler/graph.h"
#include "engine/executor.h"
#include "ops/state.h"

namespace tesserae {

// For a step over these micro-batches. A Graph with one loss: its targets, valid or not, since gradient_norm
// divides by the valid ones, which the device counts. With several: valid targets ÷ weight, so that gradients
// add up to those of the weighted sum of means. Infinite for a loss without valid targets.
LossDivisors lossDivisors(const Graph& graph, const std::vector<HostBatch>& microBatches);

}  // namespace tesserae
