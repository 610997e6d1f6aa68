// What a Program is compiled for.
#pragma once

#include <cstdint>

#include "runtime/dtype.h"

namespace tesserae {

enum class DeviceKind : uint8_t { CPU, CUDA };

struct Target {
  DeviceKind kind = DeviceKind::CPU;
  Precision precision = Precision::FP32;
  int arch = 0;             // CUDA: compute capability, 90 for 9.0
  int multiprocessors = 0;  // CUDA
  bool cublasLt = false;    // CUDA: whether matrix products may call cuBLASLt
  int threads = 1;          // CPU: the most threads of a kernel; some have a workspace for each

  bool isCuda() const { return kind == DeviceKind::CUDA; }
};

}  // namespace tesserae
