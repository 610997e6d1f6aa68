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

// In an array with an element for each loss.
template <class T>
constexpr size_t atLoss(size_t array, size_t loss) {
  return array + loss * sizeof(T);
}

constexpr StateValue kStateValues[] = {
    valueOf<Counters>("counters", DType::I64, 8, offsetof(StepState, counters)),
    valueOf<std::array<LossSum, kMostLosses>>("losses", DType::F64, 8, offsetof(StepState, losses)),
    valueOf<LossSum>("loss", DType::F64, 8, atLoss<LossSum>(offsetof(StepState, losses), 0)),
    valueOf<LossSum>("loss1", DType::F64, 8, atLoss<LossSum>(offsetof(StepState, losses), 1)),
    valueOf<LossSum>("loss2", DType::F64, 8, atLoss<LossSum>(offsetof(StepState, losses), 2)),
    valueOf<LossSum>("loss3", DType::F64, 8, atLoss<LossSum>(offsetof(StepState, losses), 3)),
    valueOf<float>("lossGradient", DType::F32, 4, atLoss<float>(offsetof(StepState, lossGradients), 0)),
    valueOf<float>("lossGradient1", DType::F32, 4, atLoss<float>(offsetof(StepState, lossGradients), 1)),
    valueOf<float>("lossGradient2", DType::F32, 4, atLoss<float>(offsetof(StepState, lossGradients), 2)),
    valueOf<float>("lossGradient3", DType::F32, 4, atLoss<float>(offsetof(StepState, lossGradients), 3)),
    valueOf<GradientNorm>("norm", DType::F32, 4, offsetof(StepState, norm)),
    valueOf<LossScaler>("scaler", DType::F64, 8, offsetof(StepState, scaler)),
    valueOf<double>("lossDivisor", DType::F64, 8, atLoss<double>(offsetof(StepState, lossDivisors), 0)),
    valueOf<double>("lossDivisor1", DType::F64, 8, atLoss<double>(offsetof(StepState, lossDivisors), 1)),
    valueOf<double>("lossDivisor2", DType::F64, 8, atLoss<double>(offsetof(StepState, lossDivisors), 2)),
    valueOf<double>("lossDivisor3", DType::F64, 8, atLoss<double>(offsetof(StepState, lossDivisors), 3)),
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
