// defines: kNormBlocks
// What the contract of layer_norm_backward and its CUDA kernels agree on.
#pragma once

#include <cstdint>

namespace tesserae {

// Most blocks of the backward kernel, each of which leaves a row of partial sums of dweight and of dbias.
inline constexpr int64_t kNormBlocks = 1056;

}  // namespace tesserae
