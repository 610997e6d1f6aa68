// Lifetimes and places. Values that are not alive at the same time share memory; an output takes over an
// input's place where the contract allows it and nobody reads the input afterwards.
#include <algorithm>
#include <numeric>

#include "compiler/first_fit.h"
#include "compiler/passes.h"
#include "runtime/error.h"
#include "runtime/philox.h"

namespace tesserae {

namespace {

constexpr int64_t kAlignment = 256;  // what CUDA's allocator gives, and vector loads like
int64_t align(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

struct Block {
  int64_t bytes = 0;
  int first = 0, last = 0;  // calls between which it is alive, inclusive
  int64_t offset = -1;
  std::vector<ValueId> values;
  int scratchOf = -1;
};

class Planner {
 public:
  Planner(const Ir& ir, const ProgramRequest& request) : ir_(ir) {
    program_.request = request;
    program_.target = ir.chooser.target();
    program_.values = ir.values;
    program_.outputs = ir.outputs;
    program_.sessionBytes = ir.sessionBytes;
    program_.sessionReport = ir.sessionReport;
  }

  Program plan() {
    makeCalls();
    placeInputsAndOutputs();
    makeBlocks();
    placeBlocks();
    return std::move(program_);
  }

 private:
  void makeCalls() {
    for (const Node& node : ir_.nodes) {
      const CallShape shape = ir_.shapeOf(node);
      Call call{
          node.op,        node.name,    hashName(node.site.data(), static_cast<int64_t>(node.site.size())),
          node.inputs,    node.outputs, node.writes,
          node.attributes};
      if (node.op->cost) call.cost = node.op->cost(shape);
      double bytes = call.cost.extraBytes;
      for (const TensorSpec* spec : shape.inputs) bytes += spec ? static_cast<double>(spec->bytes()) : 0;
      for (const TensorSpec* spec : shape.outputs) bytes += spec ? static_cast<double>(spec->bytes()) : 0;
      call.bytes = static_cast<int64_t>(bytes);
      std::optional<KernelChoice> choice = ir_.chooser.choose(*node.op, shape);
      if (!choice)
        fail(ErrorCode::Device, "%s: no kernel for %s computes '%s' with these inputs and attributes",
             node.name.c_str(), ir_.chooser.target().isCuda() ? "CUDA" : "the CPU", node.op->name.c_str());
      call.choice = std::move(*choice);
      if (node.op->workspace)
        call.scratchBytes = align(node.op->workspace(shape, ir_.chooser.target(), call.choice));
      program_.calls.push_back(std::move(call));
    }
  }

  void placeInputsAndOutputs() {
    for (size_t i = 0; i < program_.values.size(); ++i) {
      Value& value = program_.values[i];
      if (value.arena != Arena::Inputs) continue;
      value.offset = program_.inputBytes;
      program_.inputBytes += align(value.spec.bytes());
      program_.inputs[value.name] = static_cast<ValueId>(i);
    }
    for (const auto& [role, id] : program_.outputs) {
      Value& value = program_.values[id];
      if (value.arena != Arena::Workspace) continue;
      value.arena = Arena::Outputs;
      value.offset = program_.outputBytes;
      program_.outputBytes += align(value.spec.bytes());
    }
  }

  void makeBlocks() {
    const size_t n = program_.values.size();
    std::vector<int> first(n, -1), last(n, -1);
    blockOf_.assign(n, -1);
    for (size_t i = 0; i < program_.calls.size(); ++i) {
      const Call& call = program_.calls[i];
      for (const auto* list : {&call.inputs, &call.outputs}) {
        for (ValueId id : *list) {
          if (id == kAbsent) continue;
          if (first[id] < 0) first[id] = static_cast<int>(i);
          last[id] = std::max(last[id], lastOf(static_cast<int>(i)));
        }
      }
    }
    for (size_t i = 0; i < program_.calls.size(); ++i) {
      const Call& call = program_.calls[i];
      for (size_t o = 0; o < call.outputs.size(); ++o) {
        const ValueId id = call.outputs[o];
        if (id == kAbsent || program_.values[id].arena != Arena::Workspace || blockOf_[id] >= 0) continue;
        int block = takeOver(call, static_cast<int>(i), static_cast<int>(o), last);
        if (block < 0) {
          block = static_cast<int>(blocks_.size());
          blocks_.push_back({align(program_.values[id].spec.bytes()), first[id], last[id]});
        }
        blocks_[block].last = std::max(blocks_[block].last, last[id]);
        blocks_[block].values.push_back(id);
        blockOf_[id] = block;
      }
      if (call.scratchBytes > 0) {
        Block scratch{call.scratchBytes, static_cast<int>(i), lastOf(static_cast<int>(i))};
        scratch.scratchOf = static_cast<int>(i);
        blocks_.push_back(scratch);
      }
    }
  }

  // The last call during which the memory of a call is in use. A communication call may still be running
  // while the compute calls after it do.
  int lastOf(int call) const {
    const bool communicates = program_.calls[static_cast<size_t>(call)].op->lane == Lane::Communication;
    return communicates ? static_cast<int>(program_.calls.size()) - 1 : call;
  }

  // The block of an input whose place this output may take; −1 when there is none.
  int takeOver(const Call& call, int at, int output, const std::vector<int>& last) const {
    for (const Operation::Alias& alias : call.op->aliases) {
      if (alias.output != output) continue;
      const ValueId from = call.inputs[alias.input];
      if (from == kAbsent || program_.values[from].arena != Arena::Workspace || blockOf_[from] < 0) continue;
      if (std::count(call.inputs.begin(), call.inputs.end(), from) != 1) continue;
      const Block& block = blocks_[blockOf_[from]];
      // The block ends here only if no other value has taken it over already and nobody reads it later.
      if (last[from] != at || block.values.back() != from) continue;
      if (program_.values[from].spec.bytes() != program_.values[call.outputs[output]].spec.bytes()) continue;
      return blockOf_[from];
    }
    return -1;
  }

  // Largest first, each at the lowest offset that is free during its life.
  void placeBlocks() {
    std::vector<int> order(blocks_.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return blocks_[a].bytes > blocks_[b].bytes; });
    FirstFit space(static_cast<int>(program_.calls.size()));
    for (int index : order) {
      Block& block = blocks_[index];
      const int64_t offset = space.place(block.bytes, block.first, block.last);
      block.offset = offset;
      program_.workspaceBytes = std::max(program_.workspaceBytes, offset + block.bytes);
      for (ValueId id : block.values) program_.values[id].offset = offset;
      if (block.scratchOf >= 0) program_.calls[block.scratchOf].scratchOffset = offset;
    }
  }

  const Ir& ir_;
  Program program_;
  std::vector<Block> blocks_;
  std::vector<int> blockOf_;
};

}  // namespace

Program planMemory(const Ir& ir, const ProgramRequest& request) { return Planner(ir, request).plan(); }

}  // namespace tesserae
