// Places for blocks of memory that are in use during ranges of time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace tesserae {

// Gives each block the lowest offset that no block placed before it occupies during its life. A segment tree
// over time holds the occupied addresses as merged intervals, so a block meets runs of its neighbours, not
// each of them.
class FirstFit {
 public:
  // Lives are ranges of [0, times).
  explicit FirstFit(int times);

  // The offset of a block that is in use from `first` to `last`, inclusive.
  int64_t place(int64_t bytes, int first, int last);

 private:
  using Intervals = std::map<int64_t, int64_t>;  // begin → end, apart from each other
  struct Span {
    Intervals whole;  // of blocks in use during all of the span, and of no wider one
    Intervals any;    // of blocks in use during some of the span, `whole` included
  };
  void collect(size_t node, int from, int to, int first, int last);
  void occupy(size_t node, int from, int to, int first, int last, int64_t begin, int64_t end);
  static void add(Intervals& intervals, int64_t begin, int64_t end);

  int times_;
  std::vector<Span> spans_;            // the children of i are 2 i and 2 i + 1
  std::vector<const Intervals*> met_;  // what the block that is being placed must avoid
};

}  // namespace tesserae
