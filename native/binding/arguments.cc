#include "binding/arguments.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "compiler/json.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

// Where a typed array's elements are, also over a SharedArrayBuffer; null when its buffer was detached.
std::byte* dataOf(const Napi::Value& array) {
  void* data = nullptr;
  napi_get_typedarray_info(array.Env(), array, nullptr, nullptr, &data, nullptr, nullptr);
  return static_cast<std::byte*>(data);
}

HostTensor tensorOf(const Napi::Value& value, const char* what) {
  const char* const wanted = "%s must be an Int32Array, a Float32Array or a Uint8Array";
  if (!value.IsTypedArray()) fail(ErrorCode::Data, wanted, what);
  const auto array = value.As<Napi::TypedArray>();
  HostTensor tensor;
  switch (array.TypedArrayType()) {
    case napi_int32_array:
      tensor.dtype = DType::I32;
      break;
    case napi_float32_array:
      tensor.dtype = DType::F32;
      break;
    case napi_float64_array:
      tensor.dtype = DType::F64;
      break;
    case napi_uint8_array:
    case napi_uint8_clamped_array:
      tensor.dtype = DType::U8;
      break;
    default:
      fail(ErrorCode::Data, wanted, what);
  }
  const std::byte* bytes = dataOf(array);
  if (bytes)
    tensor.data.assign(bytes, bytes + array.ElementLength() * static_cast<size_t>(dtypeSize(tensor.dtype)));
  tensor.shape = {static_cast<int64_t>(array.ElementLength())};
  return tensor;
}

}  // namespace

std::string textArgument(const Napi::CallbackInfo& info, size_t index) {
  if (info.Length() <= index || !info[index].IsString())
    fail(ErrorCode::Internal, "argument %zu must be a string", index);
  return info[index].As<Napi::String>().Utf8Value();
}

bool flagArgument(const Napi::CallbackInfo& info, size_t index) {
  if (info.Length() <= index || !info[index].IsBoolean()) {
    fail(ErrorCode::Internal, "argument %zu must be true or false", index);
  }
  return info[index].As<Napi::Boolean>().Value();
}

HostTensor arrayArgument(const Napi::CallbackInfo& info, size_t index, DType type) {
  if (info.Length() <= index) fail(ErrorCode::Internal, "argument %zu is missing", index);
  HostTensor tensor = tensorOf(info[index], "an array argument");
  if (tensor.dtype != type)
    fail(ErrorCode::Data, "an array of %s was given where %s is needed", dtypeName(tensor.dtype),
         dtypeName(type));
  return tensor;
}

size_t requireArray(const Napi::CallbackInfo& info, size_t index, napi_typedarray_type type, size_t length) {
  if (info.Length() <= index || !info[index].IsTypedArray() ||
      info[index].As<Napi::TypedArray>().TypedArrayType() != type ||
      info[index].As<Napi::TypedArray>().ElementLength() < length) {
    fail(ErrorCode::Internal, "argument %zu must be a typed array of at least %zu elements", index, length);
  }
  return info[index].As<Napi::TypedArray>().ElementLength();
}

HostBatch batchArgument(const Napi::Value& value) {
  if (!value.IsObject()) fail(ErrorCode::Data, "a batch must be an object of typed arrays by input name");
  const auto object = value.As<Napi::Object>();
  const Napi::Array names = object.GetPropertyNames();
  HostBatch batch;
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const std::string name = names.Get(i).As<Napi::String>().Utf8Value();
    batch[name] = tensorOf(object.Get(name), ("'" + name + "'").c_str());
  }
  return batch;
}

std::vector<StepRequest> stepArguments(const Napi::CallbackInfo& info, size_t index, size_t ranks) {
  const Json json = parseJson(textArgument(info, index), "the step");
  const Capacity capacity = parseCapacity(json, "step");
  const Json& numbers = arrayField(json, "firstSamples", "step", ranks);
  if (info.Length() <= index + 1 || !info[index + 1].IsArray())
    fail(ErrorCode::Internal, "argument %zu must be an array of arrays of batches", index + 1);
  const auto shares = info[index + 1].As<Napi::Array>();
  if (numbers.size() != ranks || shares.Length() != ranks)
    fail(ErrorCode::Internal, "a step needs micro-batches and their numbers for each of %zu ranks", ranks);
  std::vector<StepRequest> steps;
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    StepRequest step;
    step.capacity = capacity;
    for (const Json& number : numbers[rank]) {
      if (!number.is_number_unsigned())
        fail(ErrorCode::Internal, "step.firstSamples must hold lists of integers from 0");
      step.firstSamples.push_back(number.get<int64_t>());
    }
    const Napi::Value share = shares.Get(rank);
    if (!share.IsArray()) fail(ErrorCode::Internal, "the batches of rank %u must be an array", rank);
    const auto list = share.As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); ++i) step.microBatches.push_back(batchArgument(list.Get(i)));
    steps.push_back(std::move(step));
  }
  return steps;
}

RunOptions runOptions(const std::string& text) {
  const Json json = parseJson(text, "the run options");
  onlyKeys(json, "options", {"tap", "poison", "timing", "separate"});
  return {flagField(json, "tap", "options", false), flagField(json, "poison", "options", false),
          flagField(json, "timing", "options", false), flagField(json, "separate", "options", false)};
}

void fill(const Napi::Object& object, const void* data, size_t bytes) {
  std::byte* to = dataOf(object);
  if (to) std::memcpy(to, data, std::min(bytes, object.As<Napi::TypedArray>().ByteLength()));
}

namespace {

Napi::Array lossSums(Napi::Env env, const std::array<LossSum, kMostLosses>& sums, size_t losses) {
  Napi::Array list = Napi::Array::New(env, losses);
  for (uint32_t i = 0; i < losses; ++i) {
    Napi::Object loss = Napi::Object::New(env);
    loss.Set("sum", sums[i].sum);
    loss.Set("validTargets", sums[i].validTargets);
    list.Set(i, loss);
  }
  return list;
}

}  // namespace

Napi::Object metricsValue(Napi::Env env, const StepState& state, size_t losses) {
  Napi::Object metrics = Napi::Object::New(env);
  state.visitMetrics([&](const char* name, auto value) {
    if constexpr (std::is_same_v<decltype(value), bool>) {
      metrics.Set(name, value);
    } else if constexpr (std::is_class_v<decltype(value)>) {
      metrics.Set(name, lossSums(env, value, losses));
    } else {
      metrics.Set(name, static_cast<double>(value));
    }
  });
  return metrics;
}

void requireSteps(const char* name, double value) {
  if (value >= 0 && value <= 9007199254740992.0 && value == std::floor(value)) return;
  fail(ErrorCode::Config, "%s is %g; it must be an integer from 0 to 2^53", name, value);
}

double numberProperty(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (info.Length() <= index || !info[index].IsObject())
    fail(ErrorCode::Internal, "argument %zu must be an object", index);
  const Napi::Value value = info[index].As<Napi::Object>().Get(name);
  if (!value.IsNumber()) fail(ErrorCode::Config, "%s must be a number", name);
  return value.As<Napi::Number>().DoubleValue();
}

std::string profileJson(const TrainingRun::Profile& profile) {
  Json list = Json::array();
  const auto add = [&](const char* section, const std::vector<Timing>& timings) {
    for (const Timing& timing : timings) {
      list.push_back({{"section", section},
                      {"call", timing.call},
                      {"operation", timing.operation},
                      {"seconds", timing.seconds}});
    }
  };
  add("micro", profile.micro);
  add("update", profile.update);
  return list.dump();
}

Napi::Value runResultValue(Napi::Env env, const RunResult& result) {
  Napi::Array buffers = Napi::Array::New(env);
  const auto describe = [&](const HostTensor& tensor) {
    Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(env, tensor.data.size());
    if (!tensor.data.empty()) std::memcpy(buffer.Data(), tensor.data.data(), tensor.data.size());
    const uint32_t index = buffers.Length();
    buffers.Set(index, buffer);
    return Json{{"shape", tensor.shape}, {"dtype", dtypeName(tensor.dtype)}, {"index", index}};
  };
  Json meta = {{"outputs", Json::object()}, {"taps", Json::array()}, {"timings", Json::array()}};
  for (const auto& [role, tensor] : result.outputs) meta["outputs"][role] = describe(tensor);
  for (const Tap& tap : result.taps) {
    meta["taps"].push_back({{"call", tap.call},
                            {"operation", tap.operation},
                            {"output", tap.output},
                            {"value", describe(tap.value)}});
  }
  for (const Timing& timing : result.timings) {
    meta["timings"].push_back(
        {{"call", timing.call}, {"operation", timing.operation}, {"seconds", timing.seconds}});
  }
  Napi::Object value = Napi::Object::New(env);
  value.Set("meta", meta.dump());
  value.Set("data", buffers);
  return value;
}

}  // namespace tesserae
