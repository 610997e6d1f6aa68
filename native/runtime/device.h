// A device as the engine sees it: memory and a stream of work, on the CPU or on CUDA.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/target.h"

namespace tesserae {

// What a training step must not do; counted since the device was opened.
struct DeviceStatistics {
  std::atomic<int64_t> allocations{0};       // of the device's memory, and of host memory that it copies from
  std::atomic<int64_t> synchronizations{0};  // times that the engine's thread waited for the device
};

// A block of memory that only grows, zero when new. On a GPU its addresses are reserved and growing maps more
// memory behind them, so that data() stays; on the CPU growing moves it.
class MemoryRange {
 public:
  virtual ~MemoryRange() = default;
  virtual void grow(int64_t bytes) = 0;  // keeps the contents; throws ERR_OUT_OF_MEMORY
  virtual char* data() const = 0;
};

// Host memory that the device copies from and to while the host continues.
class HostBlock {
 public:
  virtual ~HostBlock() = default;
  virtual char* data() const = 0;
};

// Work that was recorded once and can be enqueued again as one (a CUDA graph). The addresses in it are fixed.
class Recording {
 public:
  virtual ~Recording() = default;
};

// Measures the device's time between marks in the stream of work.
class Stopwatch {
 public:
  virtual ~Stopwatch() = default;
  virtual void mark() = 0;
  virtual std::vector<double> seconds() = 0;  // between neighbouring marks; waits for the last one
};

// Where Programs run: its memory, and work in the order in which it is enqueued. Used on its engine thread
// alone, but for what destructors of its memory call.
class Device : public std::enable_shared_from_this<Device> {
 public:
  virtual ~Device() = default;
  virtual DeviceKind kind() const = 0;
  // What to compile for to run here.
  virtual Target target(Precision precision, int threads) const = 0;
  virtual std::string name() const = 0;  // as users write it: "cpu", "cuda:0"
  // What the bits of its results depend on beside our kernels: "oneDNN 2.6.3", "NVIDIA A100, cuBLASLt
  // 130001".
  virtual std::string arithmetic() const = 0;

  // Memory that nobody wrote, in an allocation of its own, aligned to 256 bytes: for memory checkers. Throws
  // ERR_OUT_OF_MEMORY.
  virtual char* allocate(int64_t bytes) = 0;
  virtual void release(char* memory) noexcept = 0;
  // An empty range; it keeps the device alive.
  virtual std::unique_ptr<MemoryRange> range() = 0;
  virtual std::unique_ptr<HostBlock> hostBlock(int64_t bytes) = 0;
  virtual int64_t available() const = 0;  // bytes that could still be allocated

  // Wait for all work before them: the host's memory may be reused when write returns, and holds the data
  // when read returns.
  virtual void write(void* to, const void* host, int64_t bytes) = 0;
  virtual void read(void* host, const void* from, int64_t bytes) = 0;
  virtual void synchronize() = 0;  // throws ERR_DEVICE for what failed since the last call

  // Enqueued; the host's memory (of a HostBlock) must stay as it is until the work is done.
  virtual void upload(void* to, const void* host, int64_t bytes) = 0;
  virtual void download(void* host, const void* from, int64_t bytes) = 0;
  virtual void copy(void* to, const void* from, int64_t bytes) = 0;
  virtual void fill(void* to, int byte, int64_t bytes) = 0;

  // Calls back, on any thread, when all work enqueued so far is done, with what failed or null. Callbacks
  // come in order; they must not throw.
  virtual void whenDone(std::function<void(std::exception_ptr)> callback) = 0;

  // Records what `enqueue` enqueues, without running it; null on a device that records nothing.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& enqueue) = 0;
  virtual void replay(Recording& recording) = 0;

  virtual std::unique_ptr<Stopwatch> stopwatch() = 0;
  virtual void* stream() const { return nullptr; }
  const DeviceStatistics& statistics() const { return statistics_; }

 protected:
  mutable DeviceStatistics statistics_;
};

// Throws an ERR_OUT_OF_MEMORY that says what the memory is for and how to need less.
void requireMemory(const Device& device, int64_t bytes, const char* what, const char* remedy);

std::shared_ptr<Device> cpuDevice();
// The device 'cuda:<index>', made current on the calling thread. Throws ERR_DEVICE when it is not there, or
// in a build without CUDA.
std::shared_ptr<Device> cudaDevice(int index);

// A range of a device's memory that is made when it is first needed.
class DeviceArena {
 public:
  // Makes room for `bytes`, keeping the contents. Throws ERR_OUT_OF_MEMORY.
  void reserve(Device& device, int64_t bytes);
  char* data() const { return range_ ? range_->data() : nullptr; }
  int64_t bytes() const { return bytes_; }

 private:
  std::unique_ptr<MemoryRange> range_;
  int64_t bytes_ = 0;
};

}  // namespace tesserae
