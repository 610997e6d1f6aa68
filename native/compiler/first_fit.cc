#include "compiler/first_fit.h"

#include <algorithm>
#include <iterator>

namespace tesserae {

FirstFit::FirstFit(int times) : times_(std::max(times, 1)), spans_(static_cast<size_t>(4 * times_)) {}

int64_t FirstFit::place(int64_t bytes, int first, int last) {
  met_.clear();
  collect(1, 0, times_ - 1, first, last);
  int64_t offset = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (const Intervals* intervals : met_) {
      // The last interval that begins before the block would end. No gap before it is large enough.
      const auto next = intervals->lower_bound(offset + bytes);
      if (next == intervals->begin() || std::prev(next)->second <= offset) continue;
      offset = std::prev(next)->second;
      moved = true;
    }
  }
  occupy(1, 0, times_ - 1, first, last, offset, offset + bytes);
  return offset;
}

void FirstFit::collect(size_t node, int from, int to, int first, int last) {
  if (first <= from && to <= last) {
    met_.push_back(&spans_[node].any);
    return;
  }
  met_.push_back(&spans_[node].whole);
  const int middle = from + (to - from) / 2;
  if (first <= middle) collect(2 * node, from, middle, first, last);
  if (last > middle) collect(2 * node + 1, middle + 1, to, first, last);
}

void FirstFit::occupy(size_t node, int from, int to, int first, int last, int64_t begin, int64_t end) {
  add(spans_[node].any, begin, end);
  if (first <= from && to <= last) return add(spans_[node].whole, begin, end);
  const int middle = from + (to - from) / 2;
  if (first <= middle) occupy(2 * node, from, middle, first, last, begin, end);
  if (last > middle) occupy(2 * node + 1, middle + 1, to, first, last, begin, end);
}

void FirstFit::add(Intervals& intervals, int64_t begin, int64_t end) {
  auto at = intervals.upper_bound(begin);
  if (at != intervals.begin() && std::prev(at)->second >= begin) --at;
  while (at != intervals.end() && at->first <= end) {
    begin = std::min(begin, at->first);
    end = std::max(end, at->second);
    at = intervals.erase(at);
  }
  intervals[begin] = end;
}

}  // namespace tesserae
