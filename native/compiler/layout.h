// Where parameters are in the flat buffers of State. Computed once from a Graph and a padding policy, before
// any Program; parameters, gradients, moments and 16-bit copies all share it. Each parameter starts on a
// chunk; buckets and shards are runs of chunks.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "compiler/graph.h"
#include "ops/state.h"

namespace tesserae {

struct ParameterSlot {
  const GraphParameter* parameter;
  TensorSpec spec;     // float32
  int64_t offset = 0;  // elements from the start of a flat buffer, a multiple of kChunkElements
  int64_t chunks = 0;
};

struct Layout {
  // In reverse order of first use in the forward pass: the order in which gradients are complete. So a tied
  // parameter is where its last gradient is written.
  std::vector<ParameterSlot> slots;
  int64_t elements = 0;  // of a flat buffer, padding and chunk tails included
  uint64_t hash = 0;     // of names, extents and offsets
  int64_t chunks() const { return elements / kChunkElements; }
  const ParameterSlot* find(const std::string& name) const;  // null when there is none

  std::unordered_map<std::string, size_t> slotOf;  // index in slots by the parameter's name
};

// The graph must outlive the layout.
Layout makeLayout(const Graph& graph);

}  // namespace tesserae
