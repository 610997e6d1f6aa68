// What the NVIDIA driver and the libraries of the toolkit say of themselves.
#include "runtime/system.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include "runtime/cuda/cublaslt.h"
#include "runtime/devices.h"

namespace tesserae {

namespace {

// NCCL's version, such as 22703; 0 where it can't be opened.
int ncclVersion() {
  void* library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (!library) return 0;
  int version = 0;
  const auto getVersion = reinterpret_cast<int (*)(int*)>(dlsym(library, "ncclGetVersion"));
  if (!getVersion || getVersion(&version) != 0) version = 0;
  dlclose(library);
  return version;
}

std::string gpusJson(int count) {
  std::string list;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    if (!list.empty()) list += ",";
    list += R"({"index":)" + std::to_string(i) + R"(,"name":")" + properties.name + R"(","capability":")" +
            std::to_string(properties.major) + "." + std::to_string(properties.minor) + R"(","memory":)" +
            std::to_string(properties.totalGlobalMem) + R"(,"supported":)" +
            (properties.major >= kLeastCudaMajor ? "true" : "false") + "}";
  }
  return list;
}

}  // namespace

std::string cudaSystemJson() {
  std::string json;
  int driver = 0, count = 0;
  if (cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0) {
    json += R"(,"driver":)" + std::to_string(driver);
  }
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    json += R"(,"problem":")" + std::string(cudaGetErrorString(status)) + "\"";
    count = 0;
  }
  json += R"(,"gpus":[)" + gpusJson(count) + R"(],"libraries":{)";
  const CublasLt* const lt = count > 0 ? cublasLt() : nullptr;
  const int nccl = count > 0 ? ncclVersion() : 0;
  if (lt) json += R"("cublasLt":)" + std::to_string(lt->version());
  if (nccl > 0) json += std::string(lt ? "," : "") + R"("nccl":)" + std::to_string(nccl);
  return json + "}";
}

}  // namespace tesserae
