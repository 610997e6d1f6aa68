#pragma once

#include <cuda_runtime_api.h>

#include "runtime/error.h"

namespace tesserae {

// Throws ERR_DEVICE, or ERR_OUT_OF_MEMORY, naming what was tried.
inline void cudaCheck(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  const bool memory = status == cudaErrorMemoryAllocation;
  if (memory) cudaGetLastError();  // the error would otherwise be reported again by the next call
  fail(memory ? ErrorCode::OutOfMemory : ErrorCode::Device, "%s failed: %s", what,
       cudaGetErrorString(status));
}

}  // namespace tesserae
