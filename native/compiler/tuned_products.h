// The table of measured matrix products, and the entry that applies to a product.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ops/choice.h"

namespace tesserae {

struct TunedProduct {
  GemmProblem problem;
  Precision precision = Precision::FP32;
  std::string kernel;                      // the name of the fastest candidate
  std::optional<GemmCandidate> candidate;  // by that name; nothing for one that this release does not have
  double seconds = 0;                      // of one product; 0: not known
  int64_t library = 0;  // the version of cuBLASLt that it was measured with; 0: without the library
  ChoiceSource source = ChoiceSource::Cache;
};

// The entry for a product, or null where none is near.
//
// An entry applies to products of its layout, types and pieces. Each extent of the weight may differ by a
// factor of 2^(1/4), which is 1.19, the rows by a factor of 2^(1/2), which is 1.41: what decides between
// kernels is how often a tile fits into the extents and how often the tiles fill the chip. The nearest entry
// wins, by the extents of the weight first. Among equally near ones a checkpoint's wins over the cache's,
// that over the shipped table's, and one that was measured with this library over others. A checkpoint's
// entries apply to their own extents alone: other Programs of the run have not used them.
//
// Numbers in cuBLASLt's list mean something for one version alone: with another `library` their entries don't
// apply. 0: any version, for plans of chips that are elsewhere.
//
// Row-invariant products have none. Their rows must not change with their number (decision 017), nor with
// what has been measured.
const TunedProduct* findTuned(const std::vector<TunedProduct>& table, const GemmProblem& problem,
                              Precision precision, int64_t library);

}  // namespace tesserae
