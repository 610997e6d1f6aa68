#include "runtime/memory.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>

#include "runtime/error.h"

namespace tesserae {

namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

int64_t readNumber(const char* path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : kUnlimited;  // "max" reads as unlimited
}

}  // namespace

HostArena::~HostArena() { std::free(data_); }

void HostArena::reserve(int64_t bytes) {
  if (bytes <= bytes_) return;
  const int64_t rounded = (bytes + 255) / 256 * 256;
  char* grown = static_cast<char*>(std::aligned_alloc(256, static_cast<size_t>(rounded)));
  if (!grown) {
    fail(ErrorCode::OutOfMemory,
         "%.1f MiB of host memory could not be allocated; use a smaller batch or model",
         static_cast<double>(rounded) / (1 << 20));
  }
  if (bytes_ > 0) std::memcpy(grown, data_, static_cast<size_t>(bytes_));
  std::memset(grown + bytes_, 0, static_cast<size_t>(rounded - bytes_));
  std::free(data_);
  data_ = grown;
  bytes_ = rounded;
}

int64_t availableMemory() {
  int64_t available = kUnlimited;
  std::ifstream file("/proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    long long kilobytes = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %lld kB", &kilobytes) == 1) available = kilobytes * 1024;
  }
  const int64_t limit = readNumber("/sys/fs/cgroup/memory.max");
  if (limit != kUnlimited) {
    const int64_t used = readNumber("/sys/fs/cgroup/memory.current");
    if (used != kUnlimited) available = std::min(available, std::max<int64_t>(0, limit - used));
  }
  return available;
}

}  // namespace tesserae
