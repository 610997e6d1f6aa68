#include "comm/in_process_group.h"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <mutex>

#include "runtime/condition_variable.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

int64_t partBegin(int64_t elements, int rank, int world) { return elements * rank / world; }

enum class Collective : uint8_t { AllReduce, ReduceScatter, AllGather, Broadcast };

// What one rank calls, with its memory.
struct Arrival {
  Collective collective;
  void* data;
  int64_t elements;
  DType type;
  int root = 0;

  bool matches(const Arrival& other) const {
    return collective == other.collective && elements == other.elements && type == other.type &&
           root == other.root;
  }
};

// Where the ranks meet, twice for each call: when the memory of all is known, and when nobody needs it any
// longer. Between the two no rank waits for anything.
class Meeting {
 public:
  explicit Meeting(int world) : arrivals_(static_cast<size_t>(world)) {}

  // Between begin and end.
  const std::vector<Arrival>& arrivals() const { return arrivals_; }

  void begin(int rank, const Arrival& arrival) {
    std::unique_lock<std::mutex> lock(mutex_);
    throwIfAborted();
    arrivals_[static_cast<size_t>(rank)] = arrival;
    if (present_ + 1 == arrivals_.size() && !allMatch()) {
      abort("the ranks made different collective calls");
      throwIfAborted();
    }
    if (!meet(lock, [&] { return isAborted_; })) throwIfAborted();
  }

  // Waits for all ranks even if the group is aborted meanwhile: they use the memory of this one.
  void end() {
    std::unique_lock<std::mutex> lock(mutex_);
    meet(lock, [] { return false; });
  }

  void poll() {
    std::lock_guard<std::mutex> lock(mutex_);
    throwIfAborted();
  }

  void stop(const char* reason) {
    std::lock_guard<std::mutex> lock(mutex_);
    abort(reason);
  }

 private:
  // Whether all ranks came before the caller was to leave.
  template <class Leaves>
  bool meet(std::unique_lock<std::mutex>& lock, Leaves leaves) {
    const uint64_t meeting = meetings_;
    if (++present_ == arrivals_.size()) {
      present_ = 0;
      ++meetings_;
      changed_.notify_all();
    } else {
      waitUntil(changed_, lock, [&] { return meetings_ != meeting || leaves(); });
    }
    return meetings_ != meeting;
  }

  bool allMatch() const {
    return std::all_of(arrivals_.begin(), arrivals_.end(),
                       [&](const Arrival& arrival) { return arrival.matches(arrivals_[0]); });
  }

  void abort(const char* reason) {
    if (isAborted_) return;
    isAborted_ = true;
    std::snprintf(reason_, sizeof reason_, "%s", reason);
    changed_.notify_all();
  }

  void throwIfAborted() const {
    if (isAborted_)
      fail(ErrorCode::Distributed, "the ranks of this model no longer work together: %s", reason_);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Arrival> arrivals_;  // by rank
  size_t present_ = 0;             // ranks that came to this meeting
  uint64_t meetings_ = 0;
  bool isAborted_ = false;
  char reason_[1024] = "";
};

class InProcessGroup : public ProcessGroup {
 public:
  InProcessGroup(std::shared_ptr<Meeting> meeting, int rank, int world)
      : meeting_(std::move(meeting)), rank_(rank), world_(world) {}

  int rank() const override { return rank_; }
  int world() const override { return world_; }

  void allReduce(void* data, int64_t elements, DType type) override {
    meet({Collective::AllReduce, data, elements, type}, [&] { sumPart(elements, type, 0, world_); });
  }
  void reduceScatter(void* data, int64_t elements, DType type) override {
    meet({Collective::ReduceScatter, data, elements, type},
         [&] { sumPart(elements, type, rank_, rank_ + 1); });
  }
  void allGather(void* data, int64_t elements, DType type) override {
    meet({Collective::AllGather, data, elements, type}, [&] {
      const int64_t begin = partBegin(elements, rank_, world_) * dtypeSize(type),
                    end = partBegin(elements, rank_ + 1, world_) * dtypeSize(type);
      for (int other = 0; other < world_; ++other)
        if (other != rank_) copy(dataOf(other) + begin, dataOf(rank_) + begin, end - begin);
    });
  }
  void broadcast(void* data, int64_t elements, DType type, int root) override {
    meet({Collective::Broadcast, data, elements, type, root}, [&] {
      if (rank_ != root) copy(dataOf(rank_), dataOf(root), elements * dtypeSize(type));
    });
  }

  void poll() override { meeting_->poll(); }
  void abort(const char* reason) noexcept override { meeting_->stop(reason); }

 private:
  template <class Work>
  void meet(const Arrival& arrival, Work work) {
    if (arrival.type != DType::F32 && arrival.type != DType::F64)
      fail(ErrorCode::Internal, "a collective call on %s", dtypeName(arrival.type));
    meeting_->begin(rank_, arrival);
    work();
    meeting_->end();
  }

  char* dataOf(int rank) const {
    return static_cast<char*>(meeting_->arrivals()[static_cast<size_t>(rank)].data);
  }

  static void copy(char* to, const char* from, int64_t bytes) {
    if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
  }

  // Sums this rank's part over all ranks, in their order, and writes the sum to the ranks from `first` to
  // before `last`. No other rank touches this part.
  void sumPart(int64_t elements, DType type, int first, int last) {
    if (type == DType::F32) return sumPartOf<float>(elements, first, last);
    sumPartOf<double>(elements, first, last);
  }

  template <class T>
  void sumPartOf(int64_t elements, int first, int last) {
    constexpr int64_t kBlock = 2048;  // stays in the first cache
    T sum[kBlock];
    const int64_t partEnd = partBegin(elements, rank_ + 1, world_);
    for (int64_t begin = partBegin(elements, rank_, world_); begin < partEnd; begin += kBlock) {
      const int64_t count = std::min(kBlock, partEnd - begin);
      const auto at = [&](int rank) { return reinterpret_cast<T*>(dataOf(rank)) + begin; };
      std::copy_n(at(0), count, sum);
      for (int rank = 1; rank < world_; ++rank) {
        const T* const addend = at(rank);
        for (int64_t i = 0; i < count; ++i) sum[i] += addend[i];
      }
      for (int rank = first; rank < last; ++rank) std::copy_n(sum, count, at(rank));
    }
  }

  const std::shared_ptr<Meeting> meeting_;
  const int rank_, world_;
};

}  // namespace

std::vector<std::shared_ptr<ProcessGroup>> inProcessGroup(int world) {
  const auto meeting = std::make_shared<Meeting>(world);
  std::vector<std::shared_ptr<ProcessGroup>> group;
  for (int rank = 0; rank < world; ++rank)
    group.push_back(std::make_shared<InProcessGroup>(meeting, rank, world));
  return group;
}

}  // namespace tesserae
