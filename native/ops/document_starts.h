// Rows of several documents: `starts` (B, T) has for each position that of its document's first token.
#pragma once

#include "ops/operation.h"

namespace tesserae {

// Rejects starts that are not int32 over the batch and time axes of x.
inline void requireStarts(InferContext& c, const TensorSpec& starts, const TensorSpec& x) {
  c.require(starts.axes.size() == 2 && starts.axes[0].fits(x.axes[0]) && starts.axes[1].fits(x.axes[1]) &&
                starts.dtype == DType::I32,
            "starts must be int32 with the batch and time axes of its operand, not " + starts.describe());
}

}  // namespace tesserae
