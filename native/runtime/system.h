#pragma once

#include <string>

namespace tesserae {

std::string oneDnnVersion();  // such as "2.6.3"

// What this build and machine have, for `tesserae doctor`, as a JSON object {cuda, oneDnn, driver?, gpus,
// libraries}:
//   cuda        whether the build has CUDA
//   oneDnn      its version, such as "3.1.0"
//   driver      the newest CUDA that the NVIDIA driver serves, such as 13000; absent without a driver
//   problem     what the driver says where it gives no GPU
//   gpus        [{name, index, capability, memory, supported}]: all that the driver shows, memory in bytes
//   libraries   {cublasLt?, nccl?}: versions of those that can be opened
std::string systemJson();

#ifdef TESSERAE_CUDA
// The members of that object that need CUDA, with a comma before each.
std::string cudaSystemJson();
#endif

}  // namespace tesserae
