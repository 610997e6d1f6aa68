// Ranks that are threads of one process.
#pragma once

#include <memory>
#include <vector>

#include "comm/process_group.h"

namespace tesserae {

// The group as each of `world` ranks sees it, in their order. They share one state, which lives as long as
// one of them.
std::vector<std::shared_ptr<ProcessGroup>> inProcessGroup(int world);

}  // namespace tesserae
