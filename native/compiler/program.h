// What the compiler makes of a Graph.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "compiler/ir.h"
#include "compiler/request.h"
#include "ops/kernel.h"

namespace tesserae {

// One operation call of a Program: values by index, memory by plan.
struct Call {
  const Operation* op;
  std::string name;
  uint64_t site;
  std::vector<ValueId> inputs, outputs;
  std::vector<WriteMode> writes;
  Attributes attributes;
  KernelChoice choice;
  int64_t scratchOffset = 0, scratchBytes = 0;  // in the workspace
  Cost cost;
  int64_t bytes = 0;  // read and written
};

// A flat list of calls over values whose places are known: offsets in arenas, never memory.
struct Program {
  ProgramRequest request;
  Target target;
  std::vector<Value> values;
  std::vector<Call> calls;
  std::map<std::string, ValueId> inputs, outputs;
  int64_t inputBytes = 0, outputBytes = 0, workspaceBytes = 0;
  int64_t sessionBytes = 0, sessionReport = 0;  // the first bytes of a session are read by the host
};

}  // namespace tesserae
