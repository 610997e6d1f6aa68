#include "engine/engine.h"

#include <algorithm>
#include <map>
#include <system_error>
#include <vector>

#include "engine/model_options.h"
#include "runtime/threads.h"
#ifdef TESSERAE_CUDA
#endif

namespace tesserae {

std::shared_ptr<Engine> Engine::of(const std::string& device) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<Engine>> shared;
  std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<Engine> engine = shared[device].lock();
  if (!engine) {
    try {
      engine.reset(new Engine());
    } catch (const std::system_error& error) {
      failThreads(error);
    }
    shared[device] = engine;
  }
  return engine;
}

void openDevice(DeviceContext& context, const std::string& name) {
  if (context.device) return;
  context.device = isCpu(name) ? cpuDevice() : cudaDevice(cudaIndex(name));
}

Engine::Engine() : thread_([this] { loop(); }) {}

Engine::~Engine() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;  // what is queued now lets go of memory, and still does
  }
  changed_.notify_all();
  thread_.join();
}

void Engine::submit(const void* owner, Job job) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    queue_.emplace_back(owner, std::move(job));
  }
  changed_.notify_all();
}

void Engine::cancel(const void* owner) {
  std::unique_lock<std::mutex> lock(mutex_);
  // A job may hold the last reference to a model, which is then freed on the engine's thread.
  auto dropped = std::make_shared<std::vector<Job>>();
  for (auto& [of, job] : queue_) {
    if (of == owner) dropped->push_back(std::move(job));
  }
  queue_.erase(
      std::remove_if(queue_.begin(), queue_.end(), [&](const auto& entry) { return entry.first == owner; }),
      queue_.end());
  if (!dropped->empty()) queue_.emplace_back(nullptr, [dropped](DeviceContext&) { dropped->clear(); });
  changed_.notify_all();
  waitUntil(changed_, lock, [&] { return running_ != owner && callbacks_.count(owner) == 0; });
}

void Engine::whenDone(const void* owner, std::function<void(std::exception_ptr)> callback) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ++callbacks_[owner];
  }
  const auto forget = [this, owner] {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (--callbacks_[owner] == 0) callbacks_.erase(owner);
    }
    changed_.notify_all();
  };
  try {
    context_.device->whenDone([forget, callback = std::move(callback)](std::exception_ptr failure) mutable {
      callback(failure);
      callback = nullptr;
      forget();
    });
  } catch (...) {
    forget();
    context_.device->synchronize();  // nobody will be told, but what was enqueued still uses host memory
    throw;
  }
}

void Engine::loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    waitUntil(changed_, lock, [&] { return ending_ || !queue_.empty(); });
    if (queue_.empty()) return;
    auto [owner, job] = std::move(queue_.front());
    queue_.pop_front();
    running_ = owner;
    lock.unlock();
    job(context_);
    job = nullptr;  // frees what it holds before its end is announced
    lock.lock();
    running_ = nullptr;
    changed_.notify_all();
  }
}

}  // namespace tesserae
