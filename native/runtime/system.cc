#include "runtime/system.h"

#include <dnnl.h>

namespace tesserae {

std::string oneDnnVersion() {
  const dnnl_version_t* version = dnnl_version();
  return std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
         std::to_string(version->patch);
}

std::string systemJson() {
  std::string json = R"({"oneDnn":")" + oneDnnVersion() + "\"";
#ifdef TESSERAE_CUDA
  json += R"(,"cuda":true)" + cudaSystemJson();
#else
  json += R"(,"cuda":false,"gpus":[],"libraries":{})";
#endif
  return json + "}";
}

}  // namespace tesserae
