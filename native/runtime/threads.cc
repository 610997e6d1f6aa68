#include "runtime/threads.h"

#include <algorithm>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/condition_variable.h"
#include "runtime/error.h"

namespace tesserae {
namespace {

// Threads that have ended count for a moment longer: this many are reserved for them.
constexpr int kSpare = 2;

// How many of `wanted` threads can be there at a time.
int startable(int wanted) {
  std::mutex mutex;
  std::condition_variable changed;
  bool ending = false;
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(wanted));
  try {
    while (static_cast<int>(threads.size()) < wanted) {
      threads.emplace_back([&] {
        std::unique_lock<std::mutex> lock(mutex);
        waitUntil(changed, lock, [&] { return ending; });
      });
    }
  } catch (const std::system_error&) {
    // As many as there are.
  }
  {
    std::lock_guard<std::mutex> lock(mutex);
    ending = true;
  }
  changed.notify_all();
  for (std::thread& thread : threads) thread.join();
  return static_cast<int>(threads.size());
}

}  // namespace

void requireThreads(int count) {
  // Of this thread: the OpenMP runtime keeps a team for each.
  thread_local int granted = 1;
  if (count <= granted) return;
  const int most = granted + std::max(0, startable(count - granted + kSpare) - kSpare);
  if (most < count) {
    fail(ErrorCode::Device,
         "%d threads were requested, but the system allows this process %d: request at most that many "
         "(threads, OMP_NUM_THREADS), or raise the limit (ulimit -u, or that of the container)",
         count, most);
  }
  granted = count;
}

void failThreads(const std::system_error& error) {
  fail(ErrorCode::Device,
       "this process can't start more threads (%s): raise the limit (ulimit -u, or that of the "
       "container)",
       error.what());
}

}  // namespace tesserae
