// defines: cudaCheck
#pragma once

#include <cuda_runtime_api.h>

#include "runtime/error.h"

namespace tesserae {

// Throws ERR_DEVICE naming what was tried.
inline void cudaCheck(cudaError_t status, const char* what) {
  if (status != cudaSuccess) fail(ErrorCode::Device, "%s failed: %s", what, cudaGetErrorString(status));
}

}  // namespace tesserae
