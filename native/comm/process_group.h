// The ranks that train one model together, as one of them sees them. Kernels include this: plain
// declarations alone (see ops/kernel.h).
#pragma once

#include <cstdint>

#include "runtime/dtype.h"

namespace tesserae {

// Every rank makes the same calls in the same order; a call returns when this rank's part is done. Sums are
// in the order of the ranks, so all ranks get the same bits, whoever comes first. `data` is float32 or
// float64. Calls throw ERR_DISTRIBUTED once the group is aborted, and stay so.
class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;
  virtual int rank() const = 0;
  virtual int world() const = 0;  // how many ranks there are

  // Every rank gets the sum of all.
  virtual void allReduce(void* data, int64_t elements, DType type) = 0;
  // Each rank gets the sum in its part of `data`, the elements from elements · rank ÷ world to those of the
  // next rank; the rest stays as it is.
  virtual void reduceScatter(void* data, int64_t elements, DType type) = 0;
  // Every rank gets the parts of all.
  virtual void allGather(void* data, int64_t elements, DType type) = 0;
  // Every rank gets what `root` has.
  virtual void broadcast(void* data, int64_t elements, DType type, int root) = 0;

  // Throws if the group was aborted.
  virtual void poll() = 0;
  // Ends the group on every rank: who waits wakes up. The first reason is the one that all are told.
  virtual void abort(const char* reason) noexcept = 0;
};

}  // namespace tesserae
