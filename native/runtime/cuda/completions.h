#pragma once

#include <cuda_runtime_api.h>

#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/condition_variable.h"

namespace tesserae {

// Tells when work on a stream is done, so that nobody else needs to wait: a thread that waits for one event
// after the other. (A host function in the stream would be simpler, but is not called once a kernel failed.)
class CudaCompletions {
 public:
  using Callback = std::function<void(std::exception_ptr)>;

  CudaCompletions(int device, cudaStream_t stream);
  ~CudaCompletions();  // waits for pending work

  // Marks the end of the work enqueued so far. Events are used again: a steady state makes none.
  void add(Callback callback);

 private:
  void loop();

  const int device_;
  const cudaStream_t stream_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<cudaEvent_t, Callback>> waiting_;
  std::vector<cudaEvent_t> idle_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace tesserae
