// The options of a native model.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "compiler/padding.h"
#include "compiler/tuned_products.h"
#include "runtime/dtype.h"

namespace tesserae {

struct ModelOptions {
  std::string device =
      "cpu";  // 'cpu', 'cpu:<rank>' for ranks that are threads of one process, 'cuda:<index>'
  Precision precision = Precision::FP32;
  int64_t seed = 0;
  PaddingOption padding;
  int threads = 0;                          // 0: all processors that the process may use
  std::vector<TunedProduct> products = {};  // the table that kernels are chosen by

  // Of one of `ranks` ranks of this process, which share its processors by default. Throws ERR_CONFIG,
  // ERR_DEVICE.
  static ModelOptions parse(std::string_view text, int ranks = 1);
};

// The index in 'cuda:<index>'; −1 when the name is no CUDA device's.
int cudaIndex(const std::string& device);

// Whether it is 'cpu' or 'cpu:<rank>'.
bool isCpu(const std::string& device);

// Throws ERR_DEVICE for a name that no device has, and for a precision that the CPU does not have.
void requireDevice(const std::string& device, Precision precision);

// Threads of the CPU's pool: OMP_NUM_THREADS, else the processors of the process's affinity mask.
int defaultThreads();

}  // namespace tesserae
