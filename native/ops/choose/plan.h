// What the contract of choose and its CUDA kernels agree on.
#pragma once

#include <cstdint>

namespace tesserae {

inline constexpr int64_t kChooseIds = 1024;  // token ids that a block looks at in one go

}  // namespace tesserae
