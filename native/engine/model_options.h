// The options of a native model.
#pragma once

#include <string>
#include <string_view>

#include "compiler/graph.h"

namespace tesserae {

struct ModelOptions {
  std::string device =
      "cpu";  // 'cpu', 'cpu:<rank>' for ranks that are threads of one process, 'cuda:<index>'
  Precision precision = Precision::FP32;
  int64_t seed = 0;
  PaddingPolicy padding;
  int threads = 0;  // 0: all processors that the process may use

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
