// Matrix products as JSON: those of a plan, and one that is to be measured (MatrixProduct in
// lib/native_products.ts).
#pragma once

#include "compiler/json.h"
#include "ops/choice.h"

namespace tesserae {

Json productJson(const GemmProblem& problem);

// What measureProduct is asked for.
struct ProductRequest {
  GemmProblem problem;
  Precision precision = Precision::FP32;
  bool accumulate = false;
  int rounds = 0;
};

// Throws ERR_CONFIG.
ProductRequest parseProductRequest(const Json& request);

}  // namespace tesserae
