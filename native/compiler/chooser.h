// Decides how each call is computed, before memory is planned.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "compiler/tuned_products.h"
#include "ops/operation.h"
#include "runtime/target.h"

namespace tesserae {

class Chooser {
 public:
  // By tables: for plans of chips that need not be here.
  explicit Chooser(const Target& target, std::vector<TunedProduct> table = {});
  // For the current device: libraries are asked for their algorithms.
  static Chooser forDevice(const Target& target, std::vector<TunedProduct> table = {});

  const Target& target() const { return target_; }
  // Nothing when no kernel computes the call.
  std::optional<KernelChoice> choose(const Operation& operation, const CallShape& shape);

  // What was chosen for each product that was asked for.
  std::vector<GemmChoice> chosen() const;
  // The version of cuBLASLt that the choices hold for; 0 without it.
  int64_t library() const;
  // Puts a checkpoint's entries in place of those of an earlier checkpoint; what was chosen before is
  // forgotten. Returns the entries that can't be used here.
  std::vector<TunedProduct> restore(std::vector<TunedProduct> entries);

 private:
  std::optional<GemmChoice> chooseProduct(const GemmProblem& problem);
  std::optional<GemmChoice> chooseAnew(const GemmProblem& problem);
  bool isPossible(const GemmProblem& problem, const GemmCandidate& candidate) const;
  bool prepare(GemmChoice& choice) const;

  Target target_;
  bool onDevice_ = false;
  std::vector<TunedProduct> table_;
  // The choice for each product; equal layers share it. Nothing if no kernel computes it.
  std::vector<std::pair<GemmProblem, std::optional<GemmChoice>>> chosen_;
};

}  // namespace tesserae
