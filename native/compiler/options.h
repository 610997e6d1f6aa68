#pragma once

#include "compiler/graph.h"
#include "compiler/json.h"

namespace tesserae {

// The `padding` field of an options object, with defaults for what it leaves out. Throws ERR_CONFIG.
PaddingPolicy parsePadding(const Json& options);

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
