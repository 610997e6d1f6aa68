#include "runtime/cuda/memory_range.h"

#include <cuda.h>

#include <vector>

#include "runtime/cuda/check.h"

namespace tesserae {

namespace {

// The driver's functions for virtual memory: the addon is not linked to the driver, which may be absent.
struct Driver {
  decltype(&cuMemGetAllocationGranularity) granularity;
  decltype(&cuMemAddressReserve) reserve;
  decltype(&cuMemAddressFree) free;
  decltype(&cuMemCreate) create;
  decltype(&cuMemRelease) release;
  decltype(&cuMemMap) map;
  decltype(&cuMemUnmap) unmap;
  decltype(&cuMemSetAccess) setAccess;
  decltype(&cuGetErrorString) errorString;

  static const Driver& get() {
    static const Driver driver = load();
    return driver;
  }

  void check(CUresult status, const char* what) const {
    if (status == CUDA_SUCCESS) return;
    const char* text = nullptr;
    errorString(status, &text);
    fail(ErrorCode::Device, "%s failed: %s", what, text ? text : "unknown error");
  }

 private:
  template <class Function>
  static void find(const char* name, Function& function) {
    constexpr unsigned kVersion = 12000;  // of the interface, not of the driver: all are older
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result;
    cudaCheck(cudaGetDriverEntryPointByVersion(name, &found, kVersion, cudaEnableDefault, &result),
              "loading functions of the driver");
    if (!found || result != cudaDriverEntryPointSuccess)
      fail(ErrorCode::Device, "the NVIDIA driver has no %s; update it to the 580 series or newer", name);
    function = reinterpret_cast<Function>(found);
  }

  static Driver load() {
    Driver d{};
    find("cuMemGetAllocationGranularity", d.granularity);
    find("cuMemAddressReserve", d.reserve);
    find("cuMemAddressFree", d.free);
    find("cuMemCreate", d.create);
    find("cuMemRelease", d.release);
    find("cuMemMap", d.map);
    find("cuMemUnmap", d.unmap);
    find("cuMemSetAccess", d.setAccess);
    find("cuGetErrorString", d.errorString);
    return d;
  }
};

class CudaRange : public MemoryRange {
 public:
  CudaRange(std::shared_ptr<const Device> device, int index, cudaStream_t stream,
            std::atomic<int64_t>& allocations)
      : device_(std::move(device)),
        driver_(Driver::get()),
        index_(index),
        stream_(stream),
        allocations_(allocations) {
    properties_.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties_.location = {CU_MEM_LOCATION_TYPE_DEVICE, {index}};
    driver_.check(driver_.granularity(&granule_, &properties_, CU_MEM_ALLOC_GRANULARITY_MINIMUM),
                  "querying the granularity of GPU memory");
    size_t free = 0, total = 0;
    cudaCheck(cudaMemGetInfo(&free, &total), "querying GPU memory");
    reserved_ = roundUp(total);
    driver_.check(driver_.reserve(&base_, reserved_, 0, 0, 0), "reserving addresses for GPU memory");
  }

  ~CudaRange() override {
    // Unmapping does not wait for the work that uses the memory.
    int current = 0;
    cudaGetDevice(&current);
    cudaSetDevice(index_);
    cudaStreamSynchronize(stream_);
    size_t at = 0;
    for (const auto& [handle, bytes] : pieces_) {
      driver_.unmap(base_ + at, bytes);
      driver_.release(handle);
      at += bytes;
    }
    driver_.free(base_, reserved_);
    cudaSetDevice(current);
  }
  CudaRange(const CudaRange&) = delete;
  CudaRange& operator=(const CudaRange&) = delete;

  char* data() const override { return reinterpret_cast<char*>(base_); }

  void grow(int64_t bytes) override {
    const size_t wanted = roundUp(static_cast<size_t>(bytes));
    if (wanted <= mapped_) return;
    const size_t more = wanted - mapped_;
    CUmemGenericAllocationHandle handle = 0;
    CUresult status =
        wanted > reserved_ ? CUDA_ERROR_OUT_OF_MEMORY : driver_.create(&handle, more, &properties_, 0);
    if (status == CUDA_ERROR_OUT_OF_MEMORY) {
      fail(ErrorCode::OutOfMemory,
           "%.1f MiB of GPU memory could not be allocated; use a smaller batch or model",
           static_cast<double>(more) / (1 << 20));
    }
    driver_.check(status, "allocating GPU memory");
    ++allocations_;
    const CUdeviceptr at = base_ + mapped_;
    status = driver_.map(at, more, 0, handle, 0);
    if (status == CUDA_SUCCESS) {
      const CUmemAccessDesc access{properties_.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
      status = driver_.setAccess(at, more, &access, 1);
      if (status != CUDA_SUCCESS) driver_.unmap(at, more);
    }
    if (status != CUDA_SUCCESS) driver_.release(handle);
    driver_.check(status, "mapping GPU memory");
    pieces_.emplace_back(handle, more);
    mapped_ = wanted;
    cudaCheck(cudaMemsetAsync(reinterpret_cast<void*>(at), 0, more, stream_), "clearing GPU memory");
  }

 private:
  size_t roundUp(size_t bytes) const { return (bytes + granule_ - 1) / granule_ * granule_; }

  const std::shared_ptr<const Device> device_;
  const Driver& driver_;
  const int index_;
  const cudaStream_t stream_;
  std::atomic<int64_t>& allocations_;
  CUmemAllocationProp properties_{};
  size_t granule_ = 0, reserved_ = 0, mapped_ = 0;
  CUdeviceptr base_ = 0;
  std::vector<std::pair<CUmemGenericAllocationHandle, size_t>> pieces_;
};

}  // namespace

std::unique_ptr<MemoryRange> cudaRange(std::shared_ptr<const Device> device, int index, cudaStream_t stream,
                                       std::atomic<int64_t>& allocations) {
  return std::make_unique<CudaRange>(std::move(device), index, stream, allocations);
}

}  // namespace tesserae
