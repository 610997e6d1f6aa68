// CUDA devices. The runtime is linked statically and finds the driver by itself: without one the count is
// zero.
#include <cuda_runtime_api.h>

#include "runtime/device.h"
#include "runtime/devices.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) fail(ErrorCode::Device, "%s failed: %s", what, cudaGetErrorString(status));
}

class CudaDevice : public Device {
 public:
  explicit CudaDevice(int index) : index_(index) {
    check(cudaSetDevice(index), "opening the device");
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
  }
  // Streams and the context go with the process: a static destructor may run after the driver's.
  DeviceKind kind() const override { return DeviceKind::CUDA; }
  std::string name() const override { return "cuda:" + std::to_string(index_); }

  char* allocate(int64_t bytes) override {
    void* memory = nullptr;
    const cudaError_t status = cudaMalloc(&memory, static_cast<size_t>(bytes));
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // the error would otherwise be reported again by the next call
      fail(ErrorCode::OutOfMemory,
           "%.1f MiB of GPU memory could not be allocated; use a smaller batch or model",
           static_cast<double>(bytes) / (1 << 20));
    }
    check(status, "allocating GPU memory");
    check(cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), stream_), "clearing GPU memory");
    return static_cast<char*>(memory);
  }

  void release(char* memory) noexcept override {
    int current = 0;
    cudaGetDevice(&current);
    cudaSetDevice(index_);
    cudaFree(memory);  // waits for the work that uses it
    cudaSetDevice(current);
  }

  int64_t available() const override {
    size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "asking for free GPU memory");
    return static_cast<int64_t>(free);
  }

  void write(void* to, const void* host, int64_t bytes) override {
    transfer(to, host, bytes, cudaMemcpyHostToDevice);
  }
  void read(void* host, const void* from, int64_t bytes) override {
    transfer(host, from, bytes, cudaMemcpyDeviceToHost);
  }
  void copy(void* to, const void* from, int64_t bytes) override {
    if (bytes == 0) return;
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream_),
          "copying");
  }
  void fill(void* to, int byte, int64_t bytes) override {
    if (bytes > 0) check(cudaMemsetAsync(to, byte, static_cast<size_t>(bytes), stream_), "filling");
  }
  void synchronize() override { check(cudaStreamSynchronize(stream_), "an operation on the GPU"); }
  void* stream() const override { return stream_; }

 private:
  void transfer(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind) {
    if (bytes == 0) return;
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, stream_),
          "copying between host and GPU");
    synchronize();
  }

  const int index_;
  cudaStream_t stream_ = nullptr;
};

}  // namespace

std::shared_ptr<Device> cudaDevice(int index) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    fail(ErrorCode::Device, "the device 'cuda:%d' is not available: %s", index, cudaGetErrorString(status));
  }
  if (index >= count) {
    fail(ErrorCode::Device, "the device 'cuda:%d' is not there: this machine has %d CUDA devices", index,
         count);
  }
  return std::make_shared<CudaDevice>(index);
}

std::string cudaDevicesJson() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return "";
  std::string list;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    if (!list.empty()) list += ",";
    list += R"({"name":"cuda:)" + std::to_string(i) + R"(","kind":"cuda","description":")" + properties.name +
            R"(, sm_)" + std::to_string(properties.major) + std::to_string(properties.minor) + R"("})";
  }
  return list;
}

}  // namespace tesserae
