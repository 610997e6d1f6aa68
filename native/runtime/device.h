// defines: DeviceKind, Device, DeviceArena, requireMemory, cpuDevice, cudaDevice
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace tesserae {

enum class DeviceKind : uint8_t { CPU, CUDA };

// Where Programs run: its memory, and copies in the order in which work is enqueued. Used on its engine
// thread alone, but for release.
class Device {
 public:
  virtual ~Device() = default;
  virtual DeviceKind kind() const = 0;
  virtual std::string name() const = 0;  // as users write it: "cpu", "cuda:0"
  // Zeroed memory, aligned to 256 bytes. Throws ERR_OUT_OF_MEMORY.
  virtual char* allocate(int64_t bytes) = 0;
  virtual void release(char* memory) noexcept = 0;
  virtual int64_t available() const = 0;  // bytes that could still be allocated
  // Enqueued after the work before them. The host's memory may be reused when write returns, and holds the
  // data when read returns.
  virtual void write(void* to, const void* host, int64_t bytes) = 0;
  virtual void read(void* host, const void* from, int64_t bytes) = 0;
  virtual void copy(void* to, const void* from, int64_t bytes) = 0;
  virtual void fill(void* to, int byte, int64_t bytes) = 0;
  virtual void synchronize() = 0;  // throws ERR_DEVICE for what failed since the last call
  virtual void* stream() const { return nullptr; }
};

// Throws an ERR_OUT_OF_MEMORY that tells what the memory would be for and what would make it less.
void requireMemory(const Device& device, int64_t bytes, const char* what, const char* remedy);

std::shared_ptr<Device> cpuDevice();
// The device 'cuda:<index>', made current on the calling thread. Throws ERR_DEVICE when it is not there, or
// in a build without CUDA.
std::shared_ptr<Device> cudaDevice(int index);

// A block of a device's memory that only grows, zero when new. Growing moves it: nobody keeps a pointer
// across runs.
class DeviceArena {
 public:
  DeviceArena() = default;
  ~DeviceArena();
  DeviceArena(const DeviceArena&) = delete;
  DeviceArena& operator=(const DeviceArena&) = delete;
  // Makes room for `bytes`, keeping the contents. Throws ERR_OUT_OF_MEMORY.
  void reserve(const std::shared_ptr<Device>& device, int64_t bytes);
  char* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<Device> device_;
  char* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace tesserae
