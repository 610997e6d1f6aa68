#include "runtime/device.h"

#include <chrono>
#include <cstdlib>
#include <cstring>

#include "runtime/error.h"
#include "runtime/memory.h"
#include "runtime/system.h"

namespace tesserae {

namespace {

char* allocateAligned(int64_t bytes) {
  void* memory = nullptr;
  // Not rounded up: memory checkers then see the first byte beyond.
  if (posix_memalign(&memory, 256, static_cast<size_t>(bytes)) != 0) {
    fail(ErrorCode::OutOfMemory,
         "%.1f MiB of host memory could not be allocated; use a smaller batch or model",
         static_cast<double>(bytes) / (1 << 20));
  }
  return static_cast<char*>(memory);
}

char* allocateZeroed(int64_t bytes) {
  char* memory = allocateAligned(bytes);
  std::memset(memory, 0, static_cast<size_t>(bytes));
  return memory;
}

class CpuRange : public MemoryRange {
 public:
  ~CpuRange() override { std::free(data_); }
  char* data() const override { return data_; }
  void grow(int64_t bytes) override {
    if (bytes <= bytes_) return;
    char* grown = allocateZeroed(bytes);
    if (data_) std::memcpy(grown, data_, static_cast<size_t>(bytes_));
    std::free(data_);
    data_ = grown;
    bytes_ = bytes;
  }

 private:
  char* data_ = nullptr;
  int64_t bytes_ = 0;
};

class CpuHostBlock : public HostBlock {
 public:
  explicit CpuHostBlock(int64_t bytes) : data_(allocateZeroed(bytes)) {}
  ~CpuHostBlock() override { std::free(data_); }
  char* data() const override { return data_; }

 private:
  char* const data_;
};

class CpuStopwatch : public Stopwatch {
 public:
  void mark() override { marks_.push_back(std::chrono::steady_clock::now()); }
  std::vector<double> seconds() override {
    std::vector<double> between;
    for (size_t i = 1; i < marks_.size(); ++i)
      between.push_back(std::chrono::duration<double>(marks_[i] - marks_[i - 1]).count());
    return between;
  }

 private:
  std::vector<std::chrono::steady_clock::time_point> marks_;
};

// Everything is done when the call that asks for it returns.
class CpuDevice : public Device {
 public:
  DeviceKind kind() const override { return DeviceKind::CPU; }
  Target target(Precision precision, int threads) const override {
    return {.kind = DeviceKind::CPU, .precision = precision, .threads = threads};
  }
  std::string name() const override { return "cpu"; }
  std::string arithmetic() const override { return "oneDNN " + oneDnnVersion(); }
  char* allocate(int64_t bytes) override {
    ++statistics_.allocations;
    return allocateAligned(bytes);
  }
  void release(char* memory) noexcept override { std::free(memory); }
  std::unique_ptr<MemoryRange> range() override { return std::make_unique<CpuRange>(); }
  std::unique_ptr<HostBlock> hostBlock(int64_t bytes) override {
    ++statistics_.allocations;
    return std::make_unique<CpuHostBlock>(bytes);
  }
  int64_t available() const override { return availableMemory(); }
  void write(void* to, const void* host, int64_t bytes) override { copy(to, host, bytes); }
  void read(void* host, const void* from, int64_t bytes) override { copy(host, from, bytes); }
  void synchronize() override {}
  void upload(void* to, const void* host, int64_t bytes) override { copy(to, host, bytes); }
  void download(void* host, const void* from, int64_t bytes) override { copy(host, from, bytes); }
  void copy(void* to, const void* from, int64_t bytes) override {
    if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
  }
  void fill(void* to, int byte, int64_t bytes) override {
    if (bytes > 0) std::memset(to, byte, static_cast<size_t>(bytes));
  }
  void whenDone(std::function<void(std::exception_ptr)> callback) override { callback(nullptr); }
  std::unique_ptr<Recording> record(const std::function<void()>&) override { return nullptr; }
  void replay(Recording&) override { fail(ErrorCode::Internal, "the CPU records nothing"); }
  std::unique_ptr<Stopwatch> stopwatch() override { return std::make_unique<CpuStopwatch>(); }
};

}  // namespace

void requireMemory(const Device& device, int64_t bytes, const char* what, const char* remedy) {
  const int64_t available = device.available();
  if (bytes <= available) return;
  constexpr double MiB = 1 << 20;
  fail(ErrorCode::OutOfMemory, "%s need %.0f MiB, but only %.0f MiB are available; %s", what,
       static_cast<double>(bytes) / MiB, static_cast<double>(available) / MiB, remedy);
}

std::shared_ptr<Device> cpuDevice() { return std::make_shared<CpuDevice>(); }

#ifndef TESSERAE_CUDA
std::shared_ptr<Device> cudaDevice(int index) {
  fail(ErrorCode::Device, "the device 'cuda:%d' is not available: this build has no CUDA support", index);
}
#endif

void DeviceArena::reserve(Device& device, int64_t bytes) {
  if (bytes <= bytes_) return;
  if (!range_) range_ = device.range();
  range_->grow(bytes);
  bytes_ = bytes;
}

}  // namespace tesserae
