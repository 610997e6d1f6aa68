// What is known of chips, for plans.
#pragma once

#include <string>
#include <vector>

#include "runtime/target.h"

namespace tesserae {

// What a roofline needs of a chip. Dense rates, in operations a second; bandwidth in bytes a second.
struct Chip {
  const char* name;
  const char* description;
  const char* device;       // what its driver calls it; null for the CPU
  double fp32, tf32, half;  // matrix products by precision (fp16 and bf16 run at the same rate)
  double vector;            // fp32 arithmetic outside matrix products
  double bandwidth;
  double memory;  // bytes
  bool cuda;
  int arch, multiprocessors;  // of a GPU: compute capability, 90 for 9.0
  double matrixRate(Precision precision) const;
  // What to compile for to run there.
  Target target(Precision precision, int threads) const;
};

const std::vector<Chip>& chips();
const Chip& findChip(const std::string& name);  // throws ERR_CONFIG listing the names
// The chip of a GPU, by what its driver calls it; null when it is not in the table.
const Chip* chipOf(const std::string& device);

}  // namespace tesserae
