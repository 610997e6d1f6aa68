#pragma once

#include <vector>

#include "compiler/graph.h"

namespace tesserae {

// Initial values of a parameter in logical order. Drawn from Philox keyed by seed and name and indexed by
// logical position, so they are equal on any device, padding and rank count.
std::vector<float> drawInitialValues(const GraphParameter& parameter, uint64_t seed, int threads);

}  // namespace tesserae
