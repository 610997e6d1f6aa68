#include "engine/training_options.h"

#include <cmath>

#include "compiler/json.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

ParameterOptions parseParameter(const Json& json, const std::string& where) {
  onlyKeys(json, where, {"weightDecay", "learningRateScale", "trainable"});
  ParameterOptions options;
  if (json.contains("weightDecay")) options.weightDecay = numberField(json, "weightDecay", where);
  if (json.contains("learningRateScale")) {
    options.learningRateScale = numberField(json, "learningRateScale", where);
    if (!(options.learningRateScale > 0)) {
      fail(ErrorCode::Config,
           "%s.learningRateScale is %g; it must be greater than 0: trainable false freezes", where.c_str(),
           options.learningRateScale);
    }
  }
  options.trainable = flagField(json, "trainable", where, true);
  return options;
}

}  // namespace

TrainingOptions TrainingOptions::parse(std::string_view text, std::vector<float> learningRates,
                                       std::vector<float> momenta) {
  const Json json = parseJson(text, "the training options");
  onlyKeys(json, "training",
           {"optimizer", "parameters", "maxGradNorm", "labelSmoothing", "emaDecay", "lossScaling"});
  TrainingOptions options;
  options.optimizer = parseOptimizer(objectField(json, "optimizer", "training"), "training.optimizer");
  if (json.contains("parameters")) {
    for (const auto& [name, own] : objectField(json, "parameters", "training").items())
      options.parameters[name] = parseParameter(own, "training.parameters." + name);
  }
  if (json.contains("emaDecay")) options.emaDecay = numberField(json, "emaDecay", "training");
  options.maxGradNorm = numberField(json, "maxGradNorm", "training");
  options.labelSmoothing = numberField(json, "labelSmoothing", "training");
  if (json.contains("lossScaling")) {
    const char* const where = "training.lossScaling";
    const Json& scaling = objectField(json, "lossScaling", "training");
    onlyKeys(scaling, where, {"initScale", "growthFactor", "backoffFactor", "growthInterval"});
    options.initialLossScale = numberField(scaling, "initScale", where);
    if (!(options.initialLossScale > 0 && options.initialLossScale <= 3.4e38)) {
      fail(ErrorCode::Config, "%s.initScale is %g; it must be greater than 0 and finite in fp32", where,
           options.initialLossScale);
    }
    options.lossScaleAttributes = {
        {"growthFactor", numberField(scaling, "growthFactor", where)},
        {"backoffFactor", numberField(scaling, "backoffFactor", where)},
        {"growthInterval", integerField(scaling, "growthInterval", where, 1, int64_t{1} << 53)}};
  }
  if (learningRates.empty()) fail(ErrorCode::Config, "training.learningRates is empty");
  for (size_t i = 0; i < learningRates.size(); ++i) {
    if (!std::isfinite(learningRates[i]) || learningRates[i] < 0) {
      fail(ErrorCode::Config, "training.learningRates[%zu] is %g; a rate must be finite and not negative", i,
           learningRates[i]);
    }
  }
  if (!momenta.empty() && momenta.size() != learningRates.size())
    fail(ErrorCode::Config, "training.momenta has %zu values, learningRates %zu", momenta.size(),
         learningRates.size());
  for (size_t i = 0; i < momenta.size(); ++i) {
    if (!(momenta[i] >= 0 && momenta[i] < 1)) {
      fail(ErrorCode::Config, "training.momenta[%zu] is %g; a momentum must be at least 0 and less than 1", i,
           momenta[i]);
    }
  }
  options.learningRates = std::move(learningRates);
  options.momenta = std::move(momenta);
  return options;
}

}  // namespace tesserae
