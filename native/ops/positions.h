// Inputs (B, T) that hold a position for each position of a row: where its document starts, or which keys a
// query sees.
#pragma once

#include <string>

#include "ops/operation.h"

namespace tesserae {

// Rejects positions that are not int32 over the batch and time axes of x.
inline void requirePositions(InferContext& c, const std::string& slot, const TensorSpec& positions,
                             const TensorSpec& x) {
  c.require(positions.axes.size() == 2 && positions.axes[0].fits(x.axes[0]) &&
                positions.axes[1].fits(x.axes[1]) && positions.dtype == DType::I32,
            slot + " must be int32 with the batch and time axes of its operand, not " + positions.describe());
}

}  // namespace tesserae
