#include "runtime/devices.h"

#include <thread>

namespace tesserae {

std::string devicesJson() {
  std::string list = R"([{"name":"cpu","kind":"cpu","chip":"cpu","description":")" +
                     std::to_string(std::thread::hardware_concurrency()) + R"( processors"})";
#ifdef TESSERAE_CUDA
  const std::string cuda = cudaDevicesJson();
  if (!cuda.empty()) list += "," + cuda;
#endif
  return list + "]";
}

}  // namespace tesserae
