#include "compiler/options.h"

#include <cstdio>

namespace tesserae {

PaddingPolicy parsePadding(const Json& options) {
  PaddingPolicy policy;
  if (!options.contains("padding")) return policy;
  const Json& json = objectField(options, "padding", "options");
  onlyKeys(json, "options.padding", {"vocabulary", "width", "head"});
  const auto read = [&](const char* name, int64_t& into) {
    if (json.contains(name)) into = integerField(json, name, "options.padding", 1, 4096);
  };
  read("vocabulary", policy.vocabulary);
  read("width", policy.width);
  read("head", policy.head);
  return policy;
}

std::string hexHash(uint64_t hash) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

}  // namespace tesserae
