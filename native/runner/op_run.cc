// op_run case.json …: runs a Graph of one operation, or a whole model, without Node. Each case is checked
// against the expected values that it carries (fp64 oracles write them), timed, and told in one JSON line.
//
// A case: { "name", "graph": Graph, "model"?: options, "request": ProgramRequest,
//           "run"?: { "poison", "separate" }, "repeat"?: times to run for the timing,
//           "inputs": { name: numbers | { "normal": seed } | { "ids": seed } },
//           "parameters"?: { name: numbers },
//           "expected"?: { output or "d(parameter)": { "values": numbers, "tolerance": relative Frobenius
//           error } } }
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>

#include "engine/engine.h"
#include "engine/model.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

template <class T>
HostTensor tensorOf(const std::vector<T>& values, DType type) {
  HostTensor tensor{type, {static_cast<int64_t>(values.size())}, {}};
  tensor.data.resize(values.size() * sizeof(T));
  std::memcpy(tensor.data.data(), values.data(), tensor.data.size());
  return tensor;
}

std::vector<double> numbers(const Json& json, const std::string& what) {
  if (!json.is_array()) fail(ErrorCode::Config, "%s must be an array of numbers", what.c_str());
  std::vector<double> values;
  for (const Json& value : json) {
    if (!value.is_number()) fail(ErrorCode::Config, "%s must hold numbers", what.c_str());
    values.push_back(value.get<double>());
  }
  return values;
}

int64_t elementsOf(const GraphInput& input, const Capacity& capacity) {
  int64_t n = 1;
  for (const Axis& axis : input.axes) {
    const FactorRole role = axis.factors[0].role;
    n *= role == FactorRole::Batch    ? capacity.rows
         : role == FactorRole::Length ? capacity.lengths.at(axis.name)
                                      : axis.logical();
  }
  return n;
}

HostTensor inputOf(const GraphInput& input, const Json& json, const Capacity& capacity) {
  const bool integers = input.kind != GraphInput::Values;
  std::vector<double> values;
  if (json.is_object()) {
    std::mt19937_64 random(static_cast<uint64_t>(
        integerField(json, integers ? "ids" : "normal", "inputs." + input.name, 0, INT64_MAX)));
    values.resize(static_cast<size_t>(elementsOf(input, capacity)));
    std::normal_distribution<double> normal;
    std::uniform_int_distribution<int64_t> ids(0, std::max<int64_t>(1, input.below) - 1);
    for (double& value : values) value = integers ? static_cast<double>(ids(random)) : normal(random);
  } else {
    values = numbers(json, "inputs." + input.name);
  }
  if (integers) return tensorOf(std::vector<int32_t>(values.begin(), values.end()), DType::I32);
  if (input.dtype == DType::U8)
    return tensorOf(std::vector<uint8_t>(values.begin(), values.end()), DType::U8);
  return tensorOf(std::vector<float>(values.begin(), values.end()), DType::F32);
}

std::vector<double> asDoubles(const HostTensor& tensor) {
  std::vector<double> values(static_cast<size_t>(tensor.elements()));
  for (size_t i = 0; i < values.size(); ++i) {
    const std::byte* at = tensor.data.data() + i * static_cast<size_t>(dtypeSize(tensor.dtype));
    if (tensor.dtype == DType::F64) {
      std::memcpy(&values[i], at, 8);
    } else if (tensor.dtype == DType::F32) {
      float value;
      std::memcpy(&value, at, 4);
      values[i] = value;
    } else {
      int32_t value;
      std::memcpy(&value, at, 4);
      values[i] = value;
    }
  }
  return values;
}

double relativeError(const std::vector<double>& got, const std::vector<double>& expected) {
  if (got.size() != expected.size()) return INFINITY;
  double difference = 0, size = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    difference += (got[i] - expected[i]) * (got[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  const double error = std::sqrt(difference) / std::max(std::sqrt(size), 1e-30);
  return std::isfinite(error) ? error : INFINITY;
}

class Case {
 public:
  explicit Case(const Json& json) : json_(json) {
    onlyKeys(json, "case",
             {"name", "graph", "model", "request", "run", "repeat", "inputs", "parameters", "expected"});
    const Json defaults = {{"device", "cpu"}, {"precision", "fp32"}, {"seed", 0}};
    Json options = json.value("model", Json::object());
    for (const auto& [key, value] : defaults.items()) {
      if (!options.contains(key)) options[key] = value;
    }
    const ModelOptions modelOptions = ModelOptions::parse(options.dump());
    openDevice(context_, modelOptions.device);
    model_ = std::make_shared<Model>(field(json, "graph", "case").dump(), modelOptions, context_.device);
    request_ = parseRequest(field(json, "request", "case"));
  }

  Json run() {
    const Json parameters = json_.value("parameters", Json::object()),
               expectations = json_.value("expected", Json::object());
    for (const auto& [name, values] : parameters.items()) {
      const std::vector<double> wide = numbers(values, "parameters." + name);
      model_->state().writeTensor("parameter", name, {wide.begin(), wide.end()});
    }
    HostBatch batch;
    for (const auto& [name, values] : objectField(json_, "inputs", "case").items()) {
      const GraphInput* input = model_->graph().findInput(name);
      if (!input) fail(ErrorCode::Config, "inputs.%s: the graph has no such input", name.c_str());
      batch[name] = inputOf(*input, values, capacityOf(request_));
    }
    const Json options = json_.value("run", Json::object());
    RunOptions runOptions;
    runOptions.poison = flagField(options, "poison", "run", false);
    runOptions.separate = flagField(options, "separate", "run", false);
    runOptions.timing = true;
    const RunResult result = model_->run(context_, request_, batch, runOptions);
    Json out = {{"case", json_.value("name", "")}, {"ok", true}, {"checks", Json::array()}};
    for (const auto& [name, expected] : expectations.items()) {
      const double error =
          relativeError(actual(result, name), numbers(field(expected, "values", name), name));
      const double tolerance = numberField(expected, "tolerance", name);
      out["checks"].push_back({{"output", name}, {"error", error}, {"tolerance", tolerance}});
      if (!(error <= tolerance)) out["ok"] = false;
    }
    out["seconds"] = median(batch, runOptions, result.timings);
    return out;
  }

 private:
  std::vector<double> actual(const RunResult& result, const std::string& name) const {
    const auto it = result.outputs.find(name);
    if (it != result.outputs.end()) return asDoubles(it->second);
    if (name.size() > 3 && name.rfind("d(", 0) == 0) {
      const std::vector<float> gradient =
          model_->state().readTensor("gradient", name.substr(2, name.size() - 3));
      return {gradient.begin(), gradient.end()};
    }
    fail(ErrorCode::Config, "expected.%s is neither an output nor the gradient of a parameter", name.c_str());
  }

  // Median seconds by operation.
  Json median(const HostBatch& batch, const RunOptions& options, const std::vector<Timing>& first) {
    const int64_t repeat = json_.contains("repeat") ? integerField(json_, "repeat", "case", 1, 1000000) : 1;
    std::vector<std::vector<double>> samples(first.size());
    for (int64_t i = 0; i < repeat; ++i) {
      const RunResult again = model_->run(context_, request_, batch, options);
      for (size_t j = 0; j < samples.size(); ++j) samples[j].push_back(again.timings[j].seconds);
    }
    Json seconds = Json::object();
    for (size_t j = 0; j < samples.size(); ++j) {
      std::nth_element(samples[j].begin(),
                       samples[j].begin() + static_cast<std::ptrdiff_t>(samples[j].size() / 2),
                       samples[j].end());
      const double here = samples[j][samples[j].size() / 2];
      seconds[first[j].operation] = seconds.value(first[j].operation, 0.0) + here;
    }
    return seconds;
  }

  const Json& json_;
  DeviceContext context_;
  std::shared_ptr<Model> model_;
  ProgramRequest request_;
};

int runFile(const char* path) {
  Json line = {{"case", path}, {"ok", false}};
  try {
    std::ifstream file(path, std::ios::binary);
    if (!file) fail(ErrorCode::Config, "%s can't be read", path);
    const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const Json json = parseJson(text, path);
    line = Case(json).run();
  } catch (const Error& error) {
    line["code"] = codeName(error.code);
    line["message"] = error.what();
  } catch (const std::exception& error) {
    line["code"] = "ERR_INTERNAL";
    line["message"] = error.what();
  }
  std::printf("%s\n", line.dump().c_str());
  return line["ok"].get<bool>() ? 0 : 1;
}

}  // namespace

}  // namespace tesserae

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "usage: op_run case.json …\n");
    return 2;
  }
  int failed = 0;
  for (int i = 1; i < count; ++i) failed += tesserae::runFile(arguments[i]);
  return failed == 0 ? 0 : 1;
}
