// The loss on Hopper in bf16. Plain C++.
#pragma once

#include "ops/kernel.h"

namespace tesserae {

// linear_cross_entropy without a pass over the logits: their product stores e^(z - z of the target), whose
// multiples the gradients are.
void linearCrossEntropyByExponentials(const KernelContext& c);

}  // namespace tesserae
