#include "engine/model_options.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>

#include "compiler/json.h"
#include "compiler/products.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

// The index in a name of this prefix and at most three digits; −1 for any other name.
int indexAfter(const std::string& prefix, const std::string& device) {
  const size_t begin = prefix.size();
  if (device.size() <= begin || device.size() > begin + 3 || device.rfind(prefix, 0) != 0) return -1;
  int index = 0;
  for (size_t i = begin; i < device.size(); ++i) {
    if (device[i] < '0' || device[i] > '9') return -1;
    index = index * 10 + (device[i] - '0');
  }
  return index;
}

}  // namespace

int cudaIndex(const std::string& device) { return indexAfter("cuda:", device); }

bool isCpu(const std::string& device) { return device == "cpu" || indexAfter("cpu:", device) >= 0; }

int defaultThreads() {
  if (const char* limit = std::getenv("OMP_NUM_THREADS"); limit && std::atoi(limit) > 0)
    return std::atoi(limit);
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

void requireDevice(const std::string& device, Precision precision) {
  const bool cpu = isCpu(device);
  if (!cpu && cudaIndex(device) < 0)
    fail(ErrorCode::Device, "the device '%s' is unknown: use 'cpu' or 'cuda:0'", device.c_str());
  if (cpu && precision != Precision::FP32) {
    fail(ErrorCode::Device, "the CPU computes in fp32; precision '%s' needs a GPU", precisionName(precision));
  }
}

ModelOptions ModelOptions::parse(std::string_view text, int ranks) {
  const Json json = parseJson(text, "the model's options");
  onlyKeys(json, "options", {"device", "precision", "seed", "padding", "threads", "products"});
  ModelOptions options;
  options.device = textField(json, "device", "options");
  options.precision = parsePrecision(textField(json, "precision", "options"));
  requireDevice(options.device, options.precision);
  options.seed = integerField(json, "seed", "options", 0, int64_t{1} << 53);
  options.padding = PaddingOption::parse(json);
  options.threads =
      json.contains("threads")
          ? static_cast<int>(integerField(json, "threads", "options", 1, std::max(8, 4 * defaultThreads())))
          : std::max(1, defaultThreads() / ranks);
  options.products = parseTunedProducts(json, "options");
  return options;
}

}  // namespace tesserae
