#include "compiler/options.h"

#include <algorithm>
#include <cstdio>
#include <iterator>

#include "runtime/error.h"

namespace tesserae {

OptimizerOptions parseOptimizer(const Json& optimizer, const std::string& where) {
  OptimizerOptions options;
  options.name = textField(optimizer, "type", where);
  const auto number = [&](const char* name) {
    options.attributes = options.attributes.with(name, numberField(optimizer, name, where));
  };
  const auto flag = [&](const char* name) {
    options.attributes = options.attributes.with(name, flagField(optimizer, name, where, false));
  };
  if (options.name == "sgd") {
    onlyKeys(optimizer, where, {"type", "momentum", "nesterov", "weightDecay"});
    number("momentum");
    flag("nesterov");
  } else if (options.name == "adamw" || options.name == "adam" || options.name == "radam") {
    const bool radam = options.name == "radam";
    radam
        ? onlyKeys(optimizer, where,
                   {"type", "beta1", "beta2", "epsilon", "weightDecay", "firstSteps", "decoupledWeightDecay"})
        : onlyKeys(optimizer, where, {"type", "beta1", "beta2", "epsilon", "weightDecay"});
    for (const char* name : {"beta1", "beta2", "epsilon"}) number(name);
    if (radam) {
      static const char* const names[] = {"torch", "momentum", "decayOnly",
                                          "none"};  // as FirstSteps has them
      const std::string first = textField(optimizer, "firstSteps", where);
      const auto found = std::find(std::begin(names), std::end(names), first);
      if (found == std::end(names)) {
        fail(ErrorCode::Config, "%s.firstSteps '%s' is unknown: use torch, momentum, decayOnly or none",
             where.c_str(), first.c_str());
      }
      options.attributes = options.attributes.with("firstSteps", static_cast<int64_t>(found - names));
      flag("decoupledWeightDecay");
    }
  } else {
    fail(ErrorCode::Config, "%s.type '%s' is unknown: use adamw, adam, sgd or radam", where.c_str(),
         options.name.c_str());
  }
  options.weightDecay = numberField(optimizer, "weightDecay", where);
  return options;
}

std::string hexHash(uint64_t hash) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

}  // namespace tesserae
