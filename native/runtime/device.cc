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
    const size_t rounded = static_cast<size_t>((bytes + 255) / 256 * 256);
    char* memory = static_cast<char*>(std::aligned_alloc(256, rounded));
    if (!memory) {
      fail(ErrorCode::OutOfMemory,
           "%.1f MiB of host memory could not be allocated; use a smaller batch or model",
           static_cast<double>(rounded) / (1 << 20));
    }
    std::memset(memory, 0, rounded);
    return memory;
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
