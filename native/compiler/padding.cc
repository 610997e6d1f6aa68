#include "compiler/padding.h"

#include <algorithm>

#include "runtime/dtype.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

// Rows of whole cache lines: 128 bytes on a GPU, and 64 on a CPU, where they are also whole registers of
// AVX-512. Heads stay at 8: attention's kernels run a head in the next size of their own table, so a wider
// one would only cost memory and work.
PaddingPolicy chipPolicy(const Target& target) {
  const int64_t rowBytes = target.isCuda() ? 128 : 64;
  const int64_t multiple = rowBytes / dtypeSize(activationType(target.precision));
  PaddingPolicy policy;
  policy.vocabulary = std::max(policy.vocabulary, multiple);
  policy.width = multiple;
  return policy;
}

}  // namespace

int64_t PaddingPolicy::multipleOf(FactorRole role) const {
  switch (role) {
    case FactorRole::Vocabulary:
      return vocabulary;
    case FactorRole::Width:
      return width;
    case FactorRole::Head:
      return head;
    default:
      return 1;
  }
}

PaddingOption PaddingOption::parse(const Json& options) {
  PaddingOption option;
  if (!options.contains("padding")) return option;
  if (options["padding"].is_string()) {
    option.name_ = options["padding"].get<std::string>();
    if (option.name_ != "default" && option.name_ != "chip") {
      fail(ErrorCode::Config, "options.padding '%.100s' is unknown: use default or chip",
           option.name_.c_str());
    }
    return option;
  }
  const Json& json = objectField(options, "padding", "options");
  onlyKeys(json, "options.padding", {"vocabulary", "width", "head"});
  option.name_ = "custom";
  const auto read = [&](const char* name, int64_t& into) {
    if (json.contains(name)) into = integerField(json, name, "options.padding", 1, 4096);
  };
  read("vocabulary", option.multiples_.vocabulary);
  read("width", option.multiples_.width);
  read("head", option.multiples_.head);
  return option;
}

PaddingPolicy PaddingOption::policy(const Target& target) const {
  return name_ == "chip" ? chipPolicy(target) : multiples_;
}

}  // namespace tesserae
