// Which calls must keep their order because they use the same memory of State.
#pragma once

#include <array>
#include <map>
#include <set>
#include <vector>

#include "compiler/ir.h"

namespace tesserae {

// By intervals of bytes, not by values: a value may be a part of another one, such as a parameter's gradient
// of a range of gradients. Calls are told in the order in which they are to take effect.
class StateHazards {
 public:
  // A call reads or writes a value of State: adds to `before` the calls that must run before it.
  void read(size_t call, const Value& value, std::set<size_t>& before);
  void write(size_t call, const Value& value, std::set<size_t>& before);

 private:
  // The bytes from a segment's key to its end have the same history.
  struct Segment {
    int64_t end;
    size_t lastWriter;
    std::vector<size_t> readers;  // since then
  };
  using Segments = std::map<int64_t, Segment>;  // by first byte; they don't overlap

  // Cuts the segment that the byte is in, so that one begins there.
  static void cut(Segments& segments, int64_t at);
  // The segments that make up the value, after cutting and filling up the gaps between them.
  template <class Visit>
  void visit(const Value& value, Visit visit);

  std::array<Segments, kArenas> arenas_;
};

}  // namespace tesserae
