// CUDA devices. The runtime is linked statically and finds the driver by itself: without one the count is
// zero.
#include <cuda_runtime_api.h>

#include "runtime/devices.h"

namespace tesserae {

std::string cudaDevicesJson() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return "";
  std::string list;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    if (!list.empty()) list += ",";
    list += R"({"name":"cuda:)" + std::to_string(i) + R"(","kind":"cuda","description":")" + properties.name +
            R"(, sm_)" + std::to_string(properties.major) + std::to_string(properties.minor) + R"("})";
  }
  return list;
}

}  // namespace tesserae
