#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/program.h"

namespace tesserae {

// What a training step will do and take, before anything is allocated: operations with logical and physical
// shapes, bytes by owner, roofline time, padding, the largest batch that fits. Takes and returns JSON text
// (PlanRequest in lib/native.ts, Plan in lib/report/plan_table.ts). Throws ERR_CONFIG and ERR_SHAPE.
std::string planJson(std::string_view graphText, std::string_view requestText);

// Whether a Program reads or writes a value in an arena: not every optimizer has both moments.
bool usesArena(const Program& program, Arena arena);

struct MemoryOwner {
  const char* name;
  int64_t bytes;
};

// The arenas that a training step holds in the memory of its device; what CUDA and its libraries take
// besides is not among them. `micro` and `update` are the Programs of the step.
std::vector<MemoryOwner> trainingMemory(const Layout& layout, const Program& micro, const Program& update);

int64_t totalBytes(const std::vector<MemoryOwner>& owners);

// The most rows of a micro-batch, otherwise like `micro`, whose step fits `available` bytes; 0 when one row
// does not.
int64_t largestRows(const Graph& graph, const Layout& layout, const Program& micro, const Program& update,
                    int64_t available);

// Throws ERR_OUT_OF_MEMORY when the step needs more than `available` bytes (what the device has free and what
// these arenas hold already). The message has a table of the owners, and the rows that would fit.
void requireTrainingMemory(const Graph& graph, const Layout& layout, const Program& micro,
                           const Program& update, int64_t available);

}  // namespace tesserae
