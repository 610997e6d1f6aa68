#include "compiler/state_hazards.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace tesserae {

namespace {

constexpr size_t kNone = SIZE_MAX;

}  // namespace

void StateHazards::cut(Segments& segments, int64_t at) {
  auto after = segments.upper_bound(at);
  if (after == segments.begin()) return;
  auto& [begin, segment] = *std::prev(after);
  if (begin == at || segment.end <= at) return;
  segments.emplace_hint(after, at, segment);  // a copy: both parts have its history
  segment.end = at;
}

template <class Visit>
void StateHazards::visit(const Value& value, Visit visit) {
  Segments& segments = arenas_[static_cast<size_t>(value.arena)];
  const int64_t begin = value.offset, end = begin + value.spec.bytes();
  cut(segments, begin);
  cut(segments, end);
  int64_t at = begin;
  for (auto next = segments.lower_bound(begin); at < end; ++next) {
    if (next == segments.end() || next->first > at) {
      const int64_t gapEnd = next == segments.end() ? end : std::min(end, next->first);
      next = segments.emplace_hint(next, at, Segment{gapEnd, kNone, {}});
    }
    visit(next->second);
    at = next->second.end;
  }
}

void StateHazards::read(size_t call, const Value& value, std::set<size_t>& before) {
  visit(value, [&](Segment& segment) {
    if (segment.lastWriter != kNone && segment.lastWriter != call) before.insert(segment.lastWriter);
    segment.readers.push_back(call);
  });
}

void StateHazards::write(size_t call, const Value& value, std::set<size_t>& before) {
  visit(value, [&](Segment& segment) {
    if (segment.lastWriter != kNone && segment.lastWriter != call) before.insert(segment.lastWriter);
    for (size_t reader : segment.readers) {
      if (reader != call) before.insert(reader);
    }
    segment.readers.clear();
    segment.lastWriter = call;
  });
}

}  // namespace tesserae
