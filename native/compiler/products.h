// Matrix products as JSON: those of a plan, and one that is to be measured (MatrixProduct in
// lib/native_products.ts).
#pragma once

#include <string>
#include <vector>

#include "compiler/json.h"
#include "compiler/tuned_products.h"

namespace tesserae {

Json productJson(const GemmProblem& problem);

// A list of such entries, each a product with `precision`, `kernel`, `seconds`, `source` and, where it was
// measured next to cuBLASLt, its version as `library`. Throws ERR_CONFIG; a kernel that is unknown is none.
std::vector<TunedProduct> parseTunedProducts(const Json& object, const std::string& where);

const char* sourceName(ChoiceSource source);

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
