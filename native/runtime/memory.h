#pragma once

#include <cstdint>

namespace tesserae {

// Bytes of host memory that the process can still take: what the kernel says is available, within the limit
// of its control group.
int64_t availableMemory();

}  // namespace tesserae
