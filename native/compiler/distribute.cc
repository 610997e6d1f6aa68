// Adds up gradients and losses over the ranks of a model: one call for each bucket of the gradients, and one
// for the losses.
#include <algorithm>
#include <map>
#include <utility>

#include "compiler/passes.h"

namespace tesserae {

namespace {

// Few enough for large messages, and enough that most of them are under way during the backward pass.
constexpr int64_t kMostBuckets = 6;

struct Range {
  int64_t begin, end;  // elements of the flat buffers
};

// Runs of whole parameters of about equal size, in the order of the Layout: that in which their gradients are
// complete.
std::vector<Range> bucketsOf(const Layout& layout) {
  const int64_t wanted = (layout.elements + kMostBuckets - 1) / kMostBuckets;
  std::vector<Range> buckets;
  int64_t begin = 0;
  for (const ParameterSlot& slot : layout.slots) {
    const int64_t end = slot.offset + slot.chunks * kChunkElements;
    if (end - begin < wanted && end < layout.elements) continue;
    buckets.push_back({begin, end});
    begin = end;
  }
  return buckets;
}

// The last call that writes into the memory of a value of State; -1 when none does.
int lastWriter(const Ir& ir, ValueId range) {
  const Value& of = ir.values[range];
  const auto overlaps = [&](ValueId id) {
    if (id == kAbsent || ir.values[id].arena != of.arena) return false;
    const Value& value = ir.values[id];
    return value.offset < of.offset + of.spec.bytes() && of.offset < value.offset + value.spec.bytes();
  };
  for (size_t i = ir.nodes.size(); i-- > 0;) {
    const std::vector<ValueId>& outputs = ir.nodes[i].outputs;
    if (std::any_of(outputs.begin(), outputs.end(), overlaps)) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace

void distribute(Ir& ir, int64_t world, Strategy strategy) {
  std::vector<std::pair<std::string, ValueId>> ranges;
  if (strategy == Strategy::Ddp) {
    for (const Range& bucket : bucketsOf(ir.layout))
      ranges.emplace_back("gradients", ir.gradientRange(bucket.begin, bucket.end));
  }
  ranges.emplace_back("losses", ir.stateValue("losses"));
  std::multimap<int, Node> added;  // by the call that each follows
  for (const auto& [what, range] : ranges) {
    const int writer = lastWriter(ir, range);
    if (writer < 0) continue;  // zero on every rank
    ir.emit("all_reduce", "all_reduce(" + what + ")", "", {range}, Attributes{}.with("world", world),
            {range});
    added.emplace(writer, std::move(ir.nodes.back()));
    ir.nodes.pop_back();
  }
  std::vector<Node> nodes;
  for (size_t i = 0; i < ir.nodes.size(); ++i) {
    nodes.push_back(std::move(ir.nodes[i]));
    const auto [first, last] = added.equal_range(static_cast<int>(i));
    for (auto it = first; it != last; ++it) nodes.push_back(std::move(it->second));
  }
  ir.nodes = std::move(nodes);
}

}  // namespace tesserae
