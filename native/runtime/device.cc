#include "runtime/device.h"

#include <cstdlib>
#include <cstring>

#include "runtime/error.h"
#include "runtime/memory.h"

namespace tesserae {

namespace {

class CpuDevice : public Device {
 public:
  DeviceKind kind() const override { return DeviceKind::CPU; }
  std::string name() const override { return "cpu"; }
  char* allocate(int64_t bytes) override {
    void* memory = nullptr;
    // Not rounded up: memory checkers then see the first byte beyond.
    if (posix_memalign(&memory, 256, static_cast<size_t>(bytes)) != 0) {
      fail(ErrorCode::OutOfMemory,
           "%.1f MiB of host memory could not be allocated; use a smaller batch or model",
           static_cast<double>(bytes) / (1 << 20));
    }
    std::memset(memory, 0, static_cast<size_t>(bytes));
    return static_cast<char*>(memory);
  }
  void release(char* memory) noexcept override { std::free(memory); }
  int64_t available() const override { return availableMemory(); }
  void write(void* to, const void* host, int64_t bytes) override { copy(to, host, bytes); }
  void read(void* host, const void* from, int64_t bytes) override { copy(host, from, bytes); }
  void copy(void* to, const void* from, int64_t bytes) override {
    if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
  }
  void fill(void* to, int byte, int64_t bytes) override {
    if (bytes > 0) std::memset(to, byte, static_cast<size_t>(bytes));
  }
  void synchronize() override {}
};

}  // namespace

void requireMemory(const Device& device, int64_t bytes, const char* what, const char* remedy) {
  const int64_t available = device.available();
  if (bytes <= available) return;
  constexpr double MiB = 1 << 20;
  fail(ErrorCode::OutOfMemory, "%s need %.0f MiB and %.0f MiB are available; %s", what,
       static_cast<double>(bytes) / MiB, static_cast<double>(available) / MiB, remedy);
}

std::shared_ptr<Device> cpuDevice() { return std::make_shared<CpuDevice>(); }

#ifndef TESSERAE_CUDA
std::shared_ptr<Device> cudaDevice(int index) {
  fail(ErrorCode::Device, "the device 'cuda:%d' is not available: this build has no CUDA", index);
}
#endif

DeviceArena::~DeviceArena() {
  if (data_) device_->release(data_);
}

void DeviceArena::reserve(const std::shared_ptr<Device>& device, int64_t bytes) {
  if (bytes <= bytes_) return;
  char* grown = device->allocate(bytes);
  if (data_) {
    device->copy(grown, data_, bytes_);
    device->synchronize();
    device_->release(data_);
  }
  device_ = device;
  data_ = grown;
  bytes_ = bytes;
}

}  // namespace tesserae
