#pragma once

#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "engine/executor.h"
#include "runtime/condition_variable.h"

namespace tesserae {

// The thread on which everything of one device runs, in the order of submission: a rank. One a device for the
// process, shared by all environments (Node's main thread and its workers); it ends when the last one lets
// go.
class Engine {
 public:
  using Job = std::function<void(DeviceContext&)>;

  // The engine of 'cpu', 'cpu:<rank>' or 'cuda:<index>'. A job finds the device open, or fails with why it is
  // not.
  static std::shared_ptr<Engine> of(const std::string& device);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Jobs must not throw; context.device is null until openDevice. `owner` names the environment they belong
  // to; those of nobody are never dropped.
  void submit(const void* owner, Job job);
  // From within a job: calls back, on any thread, when the device has done what was enqueued so far, with
  // what failed or null.
  void whenDone(const void* owner, std::function<void(std::exception_ptr)> callback);
  // Drops the owner's queued jobs, and waits for the one that runs and for its callbacks.
  void cancel(const void* owner);

 private:
  Engine();
  void loop();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<const void*, Job>> queue_;
  const void* running_ = nullptr;
  std::map<const void*, int> callbacks_;  // to come, by owner
  bool ending_ = false;
  DeviceContext context_;
  std::thread thread_;
};

// Opens the context's device if it is not open yet. Throws ERR_DEVICE.
void openDevice(DeviceContext& context, const std::string& name);

}  // namespace tesserae
