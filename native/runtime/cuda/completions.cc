#include "runtime/cuda/completions.h"

#include "runtime/cuda/check.h"

namespace tesserae {

CudaCompletions::CudaCompletions(int device, cudaStream_t stream)
    : device_(device), stream_(stream), thread_([this] { loop(); }) {}

CudaCompletions::~CudaCompletions() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
  for (cudaEvent_t event : idle_) cudaEventDestroy(event);
}

void CudaCompletions::add(Callback callback) {
  cudaEvent_t event = nullptr;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      event = idle_.back();
      idle_.pop_back();
    }
  }
  // Blocking: the waiting thread sleeps, the processors are for the host's own work.
  if (!event)
    cudaCheck(cudaEventCreateWithFlags(&event, cudaEventBlockingSync | cudaEventDisableTiming),
              "creating an event");
  cudaCheck(cudaEventRecord(event, stream_), "recording an event");
  {
    std::lock_guard<std::mutex> lock(mutex_);
    waiting_.emplace_back(event, std::move(callback));
  }
  changed_.notify_all();
}

void CudaCompletions::loop() {
  cudaSetDevice(device_);
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    waitUntil(changed_, lock, [&] { return ending_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    auto [event, callback] = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    std::exception_ptr failure;
    try {
      cudaCheck(cudaEventSynchronize(event), "an operation on the GPU");
    } catch (...) {
      failure = std::current_exception();
    }
    callback(failure);
    callback = nullptr;
    lock.lock();
    idle_.push_back(event);
  }
}

}  // namespace tesserae
