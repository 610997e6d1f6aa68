#pragma once

#include <cuda_runtime_api.h>

#include <memory>

#include "runtime/device.h"

namespace tesserae {

// A range of GPU memory: addresses for all the memory that the device has are reserved, and physical memory
// is mapped behind them as the range grows, in the driver's granules (2 MiB). `stream`: where new memory is
// cleared, and whose work is waited for before the memory goes. The device must outlive the range.
std::unique_ptr<MemoryRange> cudaRange(std::shared_ptr<const Device> device, int index, cudaStream_t stream,
                                       std::atomic<int64_t>& allocations);

}  // namespace tesserae
