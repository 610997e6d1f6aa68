// defines: HostArena, availableMemory
#pragma once

#include <cstddef>
#include <cstdint>

namespace tesserae {

// A block of host memory that only grows, aligned to 256 bytes, zero when new. Growing moves it: nobody keeps
// a pointer across runs.
class HostArena {
 public:
  HostArena() = default;
  ~HostArena();
  HostArena(const HostArena&) = delete;
  HostArena& operator=(const HostArena&) = delete;
  // Makes room for `bytes`, keeping the contents. Throws ERR_OUT_OF_MEMORY.
  void reserve(int64_t bytes);
  char* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  char* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Bytes that the process can still take: what the kernel says is available, within the limit of its control
// group.
int64_t availableMemory();

}  // namespace tesserae
