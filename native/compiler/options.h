#pragma once

#include "compiler/json.h"
#include "ops/attributes.h"

namespace tesserae {

// An optimizer as training and the plan's request ask for it.
struct OptimizerOptions {
  std::string name;       // of the operation
  Attributes attributes;  // of the operation
  double weightDecay = 0;
};

// Throws ERR_CONFIG. `where` is the path of the object, for messages.
OptimizerOptions parseOptimizer(const Json& optimizer, const std::string& where);

std::string hexHash(uint64_t hash);

}  // namespace tesserae
