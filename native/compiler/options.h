// defines: parsePadding, hexHash
#pragma once

#include "compiler/graph.h"
#include "compiler/json.h"

namespace tesserae {

// The `padding` field of an options object, with defaults for what it leaves out. Throws ERR_CONFIG.
PaddingPolicy parsePadding(const Json& options);

std::string hexHash(uint64_t hash);

}  // namespace tesserae
