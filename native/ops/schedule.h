// A value that is set for each optimizer step: learning rates, momenta.
#pragma once

#include "ops/kernel.h"

namespace tesserae {

// That of a step after `applied` ones that were taken; the last holds for all later steps.
TESSERAE_BOTH static float scheduled(const float* values, int64_t steps, int64_t applied) {
  return values[applied < steps ? applied : steps - 1];
}

}  // namespace tesserae
