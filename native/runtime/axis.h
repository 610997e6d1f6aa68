// An axis is a product of factors, each with a logical extent (what the user asked for, what files hold) and
// a physical one (what memory holds, padded for alignment). Lanes between the two are zero.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/dtype.h"

namespace tesserae {

// The role of a factor decides its padding.
enum class FactorRole : uint8_t {
  Count,       // never padded: the 3 of QKV, the number of heads
  Width,       // features of a layer
  Head,        // features of one attention head
  Vocabulary,  // token ids
  Batch,       // rows of the batch; its extent is bound when a Program is compiled
  Length,      // positions along a length axis of the Graph; bound likewise
};

FactorRole parseRole(const std::string& name);  // throws ERR_CONFIG
const char* roleName(FactorRole role);

struct Factor {
  int64_t logical = 1;
  int64_t physical = 1;
  FactorRole role = FactorRole::Count;
  bool operator==(const Factor&) const = default;
};

struct Axis {
  std::string name;
  std::vector<Factor> factors;
  int64_t logical() const;
  int64_t physical() const;
  // Same extents and roles; the names may differ.
  bool fits(const Axis& other) const { return factors == other.factors; }
};
using Axes = std::vector<Axis>;

bool fits(const Axes& a, const Axes& b);  // as many axes, each fitting its counterpart

Axis countAxis(const std::string& name, int64_t extent);

struct TensorSpec {
  Axes axes;
  DType dtype = DType::F32;
  int64_t logicalElements() const;
  int64_t physicalElements() const;
  int64_t bytes() const { return physicalElements() * dtypeSize(dtype); }
  int64_t columns() const { return axes.back().physical(); }  // physical, of the last axis
  int64_t rows() const { return physicalElements() / columns(); }
  std::string describe() const;  // "batch 8 × time 128 × embd 545→552 float32"
};

// Copies between the logical order of a spec (dense, no padding) and the physical one, elementBytes an
// element. pack leaves padding lanes of `physical` as they are: zero them first.
void pack(const TensorSpec& spec, int64_t elementBytes, const void* logical, void* physical);
void unpack(const TensorSpec& spec, int64_t elementBytes, const void* physical, void* logical);

}  // namespace tesserae
