// Which calls the scheduler keeps in order because they use the same memory of State.
#include <cstdio>
#include <cstdlib>
#include <set>

#include "compiler/state_hazards.h"

using namespace tesserae;

namespace {

void check(const std::set<size_t>& before, const std::set<size_t>& expected, const char* what) {
  if (before == expected) return;
  std::fprintf(stderr, "state_hazards: %s\n", what);
  std::exit(1);
}

// The floats from `begin` to before `end`.
Value range(Arena arena, int64_t begin, int64_t end) {
  return {"", {{countAxis("elements", end - begin)}, DType::F32}, arena, begin * 4};
}

class Calls {
 public:
  std::set<size_t> reads(size_t call, const Value& value) {
    std::set<size_t> before;
    hazards_.read(call, value, before);
    return before;
  }
  std::set<size_t> writes(size_t call, const Value& value) {
    std::set<size_t> before;
    hazards_.write(call, value, before);
    return before;
  }

 private:
  StateHazards hazards_;
};

}  // namespace

int main() {
  const auto gradient = [](int64_t begin, int64_t end) { return range(Arena::Gradients, begin, end); };
  Calls calls;
  check(calls.writes(0, gradient(0, 10)), {}, "the first write waits for nothing");
  check(calls.writes(1, gradient(10, 20)), {}, "neighbours don't overlap");
  check(calls.writes(2, gradient(30, 40)), {}, "nor do distant ranges");
  check(calls.reads(3, gradient(5, 35)), {0, 1, 2}, "a range waits for all writers in it");
  check(calls.reads(4, gradient(20, 30)), {}, "a gap has no writer");
  check(calls.writes(5, gradient(0, 5)), {0}, "the other part of a range has no reader");
  check(calls.writes(6, gradient(0, 40)), {0, 1, 2, 3, 4, 5}, "a write waits for readers and writers");
  check(calls.reads(7, gradient(12, 13)), {6}, "a part has the history of the whole");
  check(calls.reads(8, range(Arena::Parameters, 12, 13)), {}, "arenas are different memory");
  check(calls.writes(9, gradient(12, 14)), {6, 7}, "parts are told apart");
  check(calls.reads(10, gradient(13, 15)), {6, 9}, "a range may have several writers");
  check(calls.reads(11, gradient(13, 15)), {6, 9}, "readers don't wait for readers");
  check(calls.writes(11, gradient(13, 15)), {6, 9, 10}, "a call does not wait for itself");
}
