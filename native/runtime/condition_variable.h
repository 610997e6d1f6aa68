#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace tesserae {

// Waits until the condition holds. std::condition_variable::wait would do, but for its version: GCC 12 gave
// it a new one, which the oldest systems with glibc 2.34 lack; waiting with a time limit is inline.
template <class Condition>
void waitUntil(std::condition_variable& changed, std::unique_lock<std::mutex>& lock, Condition condition) {
  while (!condition()) changed.wait_for(lock, std::chrono::hours(1));
}

}  // namespace tesserae
