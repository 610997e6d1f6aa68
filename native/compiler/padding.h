// Which multiples a Graph's factors are padded to.
#pragma once

#include <string>

#include "compiler/json.h"
#include "runtime/axis.h"
#include "runtime/target.h"

namespace tesserae {

// Multiples that factors are padded to, by role. The defaults keep rows of 16-bit tensors at 16 bytes and
// give tensor cores whole tiles in the one dimension that is often odd, the vocabulary.
struct PaddingPolicy {
  int64_t vocabulary = 64;
  int64_t width = 8;
  int64_t head = 8;
  int64_t multipleOf(FactorRole role) const;
};

// The `padding` field of an options object: 'default', 'chip', or an object of multiples, for tests.
class PaddingOption {
 public:
  static PaddingOption parse(const Json& options);   // throws ERR_CONFIG
  const std::string& name() const { return name_; }  // 'default', 'chip' or 'custom'
  PaddingPolicy policy(const Target& target) const;

 private:
  std::string name_ = "default";
  PaddingPolicy multiples_;
};

}  // namespace tesserae
