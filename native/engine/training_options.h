// How a model is trained.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/options.h"

namespace tesserae {

// The settings of one parameter; absent ones are those of the other parameters.
struct ParameterOptions {
  std::optional<double> weightDecay;
  double learningRateScale = 1;
  bool trainable = true;
};

struct TrainingOptions {
  OptimizerOptions optimizer;
  std::map<std::string, ParameterOptions> parameters;  // by name
  double maxGradNorm = 0, labelSmoothing = 0, emaDecay = 0;
  double initialLossScale = 1;
  Attributes lossScaleAttributes;  // empty without loss scaling
  std::vector<float> learningRates;
  std::vector<float> momenta;  // empty: the optimizer's setting in every step

  // Throws ERR_CONFIG.
  static TrainingOptions parse(std::string_view text, std::vector<float> learningRates,
                               std::vector<float> momenta);
};

}  // namespace tesserae
