// defines: kChooseIds, chooseSlices
// What the contract of choose and its CUDA kernels agree on.
#pragma once

#include <algorithm>
#include <cstdint>

namespace tesserae {

inline constexpr int64_t kChooseIds = 1024;  // token ids that a block looks at in one go

// Blocks that share a row's vocabulary: about four a multiprocessor of an H100 over all rows.
inline int64_t chooseSlices(int64_t rows, int64_t vocabulary) {
  const int64_t most = (vocabulary + kChooseIds - 1) / kChooseIds;
  return std::clamp<int64_t>(528 / rows, 1, most);
}

}  // namespace tesserae
