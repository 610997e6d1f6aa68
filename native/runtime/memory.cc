#include "runtime/memory.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>
#include <string>

namespace tesserae {

namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

int64_t readNumber(const char* path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : kUnlimited;  // "max" reads as unlimited
}

}  // namespace

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
