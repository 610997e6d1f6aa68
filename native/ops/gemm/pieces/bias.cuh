// The piece Bias: a number for each column is added to the fp32 sum.
#pragma once

#include <cstdint>

namespace tesserae {

// bias (n) or null
__device__ __forceinline__ float addBias(float sum, const float* bias, int64_t column) {
  return bias ? sum + bias[column] : sum;
}

}  // namespace tesserae
