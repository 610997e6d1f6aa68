// CUDA devices. The runtime is linked statically and finds the driver by itself: without one the count is
// zero.
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <cstring>

#include "runtime/chips.h"
#include "runtime/cuda/check.h"
#include "runtime/cuda/completions.h"
#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/memory_range.h"
#include "runtime/device.h"
#include "runtime/devices.h"

namespace tesserae {

namespace {

class CudaHostBlock : public HostBlock {
 public:
  explicit CudaHostBlock(int64_t bytes) {
    cudaCheck(cudaHostAlloc(&data_, static_cast<size_t>(bytes), cudaHostAllocPortable),
              "allocating host memory for copies");
  }
  ~CudaHostBlock() override { cudaFreeHost(data_); }
  CudaHostBlock(const CudaHostBlock&) = delete;
  CudaHostBlock& operator=(const CudaHostBlock&) = delete;
  char* data() const override { return static_cast<char*>(data_); }

 private:
  void* data_ = nullptr;
};

class CudaGraph : public Recording {
 public:
  explicit CudaGraph(cudaGraph_t graph) {
    cudaCheck(cudaGraphInstantiate(&executable_, graph, 0), "creating a CUDA graph");
  }
  ~CudaGraph() override { cudaGraphExecDestroy(executable_); }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;
  void launch(cudaStream_t stream) {
    cudaCheck(cudaGraphLaunch(executable_, stream), "launching a CUDA graph");
  }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

// Marks may be recorded with the work around them: then they measure each replay.
class CudaStopwatch : public Stopwatch {
 public:
  explicit CudaStopwatch(cudaStream_t stream) : stream_(stream) {}
  ~CudaStopwatch() override {
    for (cudaEvent_t event : events_) cudaEventDestroy(event);
  }
  CudaStopwatch(const CudaStopwatch&) = delete;
  CudaStopwatch& operator=(const CudaStopwatch&) = delete;

  void mark() override {
    cudaEvent_t event = nullptr;
    cudaCheck(cudaEventCreate(&event), "creating an event");
    events_.push_back(event);
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    cudaCheck(cudaStreamIsCapturing(stream_, &status), "querying stream capture");
    const bool recorded = status == cudaStreamCaptureStatusActive;
    cudaCheck(
        cudaEventRecordWithFlags(event, stream_, recorded ? cudaEventRecordExternal : cudaEventRecordDefault),
        "recording a timing event");
  }

  std::vector<double> seconds() override {
    std::vector<double> between;
    if (!events_.empty()) cudaCheck(cudaEventSynchronize(events_.back()), "an operation on the GPU");
    for (size_t i = 1; i < events_.size(); ++i) {
      float milliseconds = 0;
      cudaCheck(cudaEventElapsedTime(&milliseconds, events_[i - 1], events_[i]), "reading a timing event");
      between.push_back(milliseconds / 1e3);
    }
    return between;
  }

 private:
  const cudaStream_t stream_;
  std::vector<cudaEvent_t> events_;
};

class CudaDevice : public Device {
 public:
  CudaDevice(int index, cudaStream_t stream) : index_(index), stream_(stream), completions_(index, stream) {}
  // Streams and the context go with the process: a static destructor may run after the driver's.
  DeviceKind kind() const override { return DeviceKind::CUDA; }
  // For tests: TESSERAE_GEMM=own leaves cuBLASLt out, and sm80 Hopper's kernels too.
  Target target(Precision precision, int threads) const override {
    cudaDeviceProp properties;
    cudaCheck(cudaGetDeviceProperties(&properties, index_), "querying GPU properties");
    const char* const wanted = std::getenv("TESSERAE_GEMM");
    const bool sm80 = wanted && std::strcmp(wanted, "sm80") == 0;
    const bool own = sm80 || (wanted && std::strcmp(wanted, "own") == 0);
    return {.kind = DeviceKind::CUDA,
            .precision = precision,
            .arch = sm80 ? 80 : properties.major * 10 + properties.minor,
            .multiprocessors = properties.multiProcessorCount,
            .cublasLt = !own && cublasLt() != nullptr,
            .threads = threads};
  }
  std::string name() const override { return "cuda:" + std::to_string(index_); }
  std::string arithmetic() const override {
    cudaDeviceProp properties;
    cudaCheck(cudaGetDeviceProperties(&properties, index_), "querying GPU properties");
    const CublasLt* const lt = cublasLt();
    return std::string(properties.name) + (lt ? ", cuBLASLt " + std::to_string(lt->version()) : "");
  }

  char* allocate(int64_t bytes) override {
    void* memory = nullptr;
    cudaCheck(cudaMalloc(&memory, static_cast<size_t>(bytes)), "allocating GPU memory");
    ++statistics_.allocations;
    return static_cast<char*>(memory);
  }

  void release(char* memory) noexcept override {
    int current = 0;
    cudaGetDevice(&current);
    cudaSetDevice(index_);
    cudaFree(memory);  // waits for the work that uses it
    cudaSetDevice(current);
  }

  std::unique_ptr<MemoryRange> range() override {
    return cudaRange(shared_from_this(), index_, stream_, statistics_.allocations);
  }

  std::unique_ptr<HostBlock> hostBlock(int64_t bytes) override {
    ++statistics_.allocations;
    return std::make_unique<CudaHostBlock>(bytes);
  }

  int64_t available() const override {
    size_t free = 0, total = 0;
    cudaCheck(cudaMemGetInfo(&free, &total), "querying free GPU memory");
    return static_cast<int64_t>(free);
  }

  void write(void* to, const void* host, int64_t bytes) override {
    if (bytes == 0) return;
    upload(to, host, bytes);
    synchronize();
  }
  void read(void* host, const void* from, int64_t bytes) override {
    if (bytes == 0) return;
    download(host, from, bytes);
    synchronize();
  }
  void synchronize() override {
    ++statistics_.synchronizations;
    cudaCheck(cudaStreamSynchronize(stream_), "an operation on the GPU");
  }

  void upload(void* to, const void* host, int64_t bytes) override {
    transfer(to, host, bytes, cudaMemcpyHostToDevice);
  }
  void download(void* host, const void* from, int64_t bytes) override {
    transfer(host, from, bytes, cudaMemcpyDeviceToHost);
  }
  void copy(void* to, const void* from, int64_t bytes) override {
    transfer(to, from, bytes, cudaMemcpyDeviceToDevice);
  }
  void fill(void* to, int byte, int64_t bytes) override {
    if (bytes > 0) cudaCheck(cudaMemsetAsync(to, byte, static_cast<size_t>(bytes), stream_), "filling");
  }

  void whenDone(std::function<void(std::exception_ptr)> callback) override {
    completions_.add(std::move(callback));
  }

  // Relaxed: kernels that run for the first time are loaded while they are recorded.
  std::unique_ptr<Recording> record(const std::function<void()>& enqueue) override {
    cudaCheck(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), "recording a CUDA graph");
    cudaGraph_t graph = nullptr;
    std::exception_ptr failure;
    try {
      enqueue();
    } catch (...) {
      failure = std::current_exception();
    }
    const cudaError_t status = cudaStreamEndCapture(stream_, &graph);
    const std::unique_ptr<CUgraph_st, cudaError_t (*)(cudaGraph_t)> owned(graph, cudaGraphDestroy);
    if (status != cudaSuccess) cudaGetLastError();  // or the next kernel would be blamed
    if (failure) std::rethrow_exception(failure);
    cudaCheck(status, "recording a CUDA graph");
    return std::make_unique<CudaGraph>(graph);
  }
  void replay(Recording& recording) override { static_cast<CudaGraph&>(recording).launch(stream_); }

  std::unique_ptr<Stopwatch> stopwatch() override { return std::make_unique<CudaStopwatch>(stream_); }
  void* stream() const override { return stream_; }

 private:
  void transfer(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind) {
    if (bytes > 0) cudaCheck(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, stream_), "copying");
  }

  const int index_;
  const cudaStream_t stream_;
  CudaCompletions completions_;
};

}  // namespace

std::shared_ptr<Device> cudaDevice(int index) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    fail(ErrorCode::Device, "the device 'cuda:%d' is not available: %s", index, cudaGetErrorString(status));
  }
  if (index >= count) {
    fail(ErrorCode::Device, "the device 'cuda:%d' is not available: this machine has %d CUDA devices", index,
         count);
  }
  int major = 0, minor = 0;
  cudaCheck(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index),
            "querying GPU properties");
  cudaCheck(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index),
            "querying GPU properties");
  if (major < kLeastCudaMajor) {
    fail(ErrorCode::Device, "the device 'cuda:%d' is sm_%d%d; this build needs sm_%d0 or newer", index, major,
         minor, kLeastCudaMajor);
  }
  cudaCheck(cudaSetDevice(index), "opening the device");
  cudaStream_t stream = nullptr;
  cudaCheck(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
  return std::make_shared<CudaDevice>(index, stream);
}

std::string cudaDevicesJson() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return "";
  std::string list;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess || properties.major < kLeastCudaMajor)
      continue;
    if (!list.empty()) list += ",";
    const Chip* chip = chipOf(properties.name);
    list += R"({"name":"cuda:)" + std::to_string(i) + R"(","kind":"cuda",)" +
            (chip ? R"("chip":")" + std::string(chip->name) + R"(",)" : "") + R"("description":")" +
            properties.name + R"(, sm_)" + std::to_string(properties.major) +
            std::to_string(properties.minor) + R"("})";
  }
  return list;
}

}  // namespace tesserae
