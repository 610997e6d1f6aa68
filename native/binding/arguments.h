// Readers of arguments and writers of results.
#pragma once

#include <napi.h>

#include <string>
#include <type_traits>
#include <vector>

#include "engine/model.h"

namespace tesserae {

// All throw ERR_INTERNAL or ERR_DATA when the argument is not what it must be; contents are copied.
std::string textArgument(const Napi::CallbackInfo& info, size_t index);
bool flagArgument(const Napi::CallbackInfo& info, size_t index);
HostTensor arrayArgument(const Napi::CallbackInfo& info, size_t index, DType type);
// A typed array of this type with at least (or, for 0, any) `length` elements; returns its length.
size_t requireArray(const Napi::CallbackInfo& info, size_t index, napi_typedarray_type type, size_t length);
HostBatch batchArgument(const Napi::Value& value);
// { rows, lengths, documents?, firstSamples } as JSON, then the batches: of both a list for each rank, with
// an entry for each of its micro-batches.
std::vector<StepRequest> stepArguments(const Napi::CallbackInfo& info, size_t index, size_t ranks);
RunOptions runOptions(const std::string& json);

// Copies into a typed array.
void fill(const Napi::Object& array, const void* data, size_t bytes);
// What a step measured, by the names of StepState::visitMetrics. `losses`: how many the Graph has.
Napi::Object metricsValue(Napi::Env env, const StepState& state, size_t losses);
// Throws ERR_CONFIG for what is no count of steps: an integer from 0 to 2^53.
void requireSteps(const char* name, double value);
// A number in an object. Throws ERR_CONFIG.
double numberProperty(const Napi::CallbackInfo& info, size_t index, const char* name);
// The fields of a struct of State that a checkpoint holds, by name: of the struct, and into one whose other
// fields are zero. Integers are counts of steps.
template <class T>
Napi::Object savedValue(Napi::Env env, const T& value) {
  Napi::Object object = Napi::Object::New(env);
  T::visitSaved(value, [&](const char* name, auto field) { object.Set(name, static_cast<double>(field)); });
  return object;
}
template <class T>
T savedArgument(const Napi::CallbackInfo& info, size_t index) {
  T value{};
  T::visitSaved(value, [&](const char* name, auto& field) {
    using Field = std::decay_t<decltype(field)>;
    const double number = numberProperty(info, index, name);
    if constexpr (std::is_integral_v<Field>) requireSteps(name, number);
    field = static_cast<Field>(number);
  });
  return value;
}
// A list of { section, call, operation, seconds } as JSON.
std::string profileJson(const TrainingRun::Profile& profile);
// { meta: JSON text, data: ArrayBuffer[] }; lib/native.ts assembles tensors from them.
Napi::Value runResultValue(Napi::Env env, const RunResult& result);

}  // namespace tesserae
