// The small values of State as tensors: what contracts and the compiler know of them.
#pragma once

#include <string>
#include <string_view>

#include "ops/operation.h"

namespace tesserae {

// A member of StepState.
struct StateValue {
  const char* name;
  DType dtype;  // of all its fields
  int64_t elements;
  int64_t offset;  // bytes in the State arena
  TensorSpec spec() const { return {{countAxis(name, elements)}, dtype}; }
};

// The name of what a member has for one of the Graph's losses: "loss", "loss1", …
inline std::string ofLoss(const char* member, size_t loss) {
  return loss == 0 ? member : member + std::to_string(loss);
}

// Null where StepState has no such member.
const StateValue* findStateValue(std::string_view name);

// The shape of a member of StepState, for the contract of an operation that writes it.
TensorSpec stateSpec(std::string_view name);

// Rejects an input that does not have the shape of this member.
void requireState(const InferContext& c, int input, std::string_view name);

}  // namespace tesserae
