// Decides how each call is computed, before memory is planned.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ops/operation.h"
#include "runtime/target.h"

namespace tesserae {

class Chooser {
 public:
  // By tables: for plans of chips that need not be here.
  explicit Chooser(const Target& target);
  // For the current device: libraries are asked for their algorithms.
  static Chooser forDevice(const Target& target);

  const Target& target() const { return target_; }
  // Nothing when no kernel computes the call.
  std::optional<KernelChoice> choose(const Operation& operation, const CallShape& shape);

 private:
  bool chooseOnDevice(GemmChoice& product);

  Target target_;
  bool onDevice_ = false;
  // What the library chose for a product; equal layers share it. Null if it has no kernel.
  std::vector<std::pair<GemmProblem, std::shared_ptr<LibraryProduct>>> chosen_;
};

}  // namespace tesserae
