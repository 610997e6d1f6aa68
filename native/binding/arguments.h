// defines: readers of arguments and writers of results
#pragma once

#include <napi.h>

#include <string>
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
// {rows, time, samples} as JSON, then the list of batches.
StepRequest stepArguments(const Napi::CallbackInfo& info, size_t index);
RunOptions runOptions(const std::string& json);

// Copies into a typed array.
void fill(const Napi::Object& array, const void* data, size_t bytes);
// A list of { section, call, operation, seconds } as JSON.
std::string profileJson(const Model::Profile& profile);
// { meta: JSON text, data: ArrayBuffer[] }; lib/native.ts assembles tensors from them.
Napi::Value runResultValue(Napi::Env env, const RunResult& result);

}  // namespace tesserae
