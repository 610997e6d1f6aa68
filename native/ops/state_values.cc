#include "ops/state_values.h"

#include <cstddef>

#include "ops/state.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

template <class T>
constexpr StateValue valueOf(const char* name, DType dtype, int64_t elementBytes, size_t offset) {
  static_assert(sizeof(T) <= 64, "a value of StepState has a cache line");
  return {name, dtype, static_cast<int64_t>(sizeof(T)) / elementBytes, static_cast<int64_t>(offset)};
}

constexpr StateValue kStateValues[] = {
    valueOf<Counters>("counters", DType::I64, 8, offsetof(StepState, counters)),
    valueOf<LossSum>("loss", DType::F64, 8, offsetof(StepState, loss)),
    valueOf<float>("seed", DType::F32, 4, offsetof(StepState, seed)),
    valueOf<GradientNorm>("norm", DType::F32, 4, offsetof(StepState, norm)),
    valueOf<LossScaler>("scaler", DType::F64, 8, offsetof(StepState, scaler)),
    valueOf<double>("positions", DType::F64, 8, offsetof(StepState, positions)),
};

}  // namespace

const StateValue* findStateValue(std::string_view name) {
  for (const StateValue& value : kStateValues) {
    if (name == value.name) return &value;
  }
  return nullptr;
}

TensorSpec stateSpec(std::string_view name) {
  const StateValue* value = findStateValue(name);
  if (!value)
    fail(ErrorCode::Internal, "State has no value '%.*s'", static_cast<int>(name.size()), name.data());
  return value->spec();
}

void requireState(const InferContext& c, int input, std::string_view name) {
  const TensorSpec wanted = stateSpec(name), &given = c.input(input);
  c.require(given.dtype == wanted.dtype && given.physicalElements() == wanted.physicalElements(),
            std::string(name) + " must be " + wanted.describe() + ", not " + given.describe());
}

}  // namespace tesserae
