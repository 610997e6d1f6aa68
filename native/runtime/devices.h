#pragma once

#include <string>

namespace tesserae {

constexpr int kLeastCudaMajor = 8;  // compute capability of a GPU that can be used: sm_80

// The devices of this build on this machine as a JSON array of {name, kind, description}; the CPU is first.
std::string devicesJson();

#ifdef TESSERAE_CUDA
// The CUDA devices as a comma-separated list of JSON objects; empty without a driver.
std::string cudaDevicesJson();
#endif

}  // namespace tesserae
