#include "runtime/system.h"

#include <dnnl.h>

namespace tesserae {

std::string systemJson() {
  const dnnl_version_t* dnnl = dnnl_version();
  std::string json = R"({"oneDnn":")" + std::to_string(dnnl->major) + "." + std::to_string(dnnl->minor) +
                     "." + std::to_string(dnnl->patch) + "\"";
#ifdef TESSERAE_CUDA
  json += R"(,"cuda":true)" + cudaSystemJson();
#else
  json += R"(,"cuda":false,"gpus":[],"libraries":{})";
#endif
  return json + "}";
}

}  // namespace tesserae
