// Who writes and who reads each value, kept up to date while a pass changes the calls.
#pragma once

#include <vector>

#include "compiler/ir.h"

namespace tesserae {

// Calls are named by their index in ir.nodes, which stays as it is until compact().
class UseIndex {
 public:
  explicit UseIndex(Ir& ir);

  bool isAlive(int node) const { return alive_[static_cast<size_t>(node)]; }
  // The only writer of a value that is no State; -1 when no call writes it.
  int producer(ValueId value) const;
  // The calls that read a value, in order.
  const std::vector<int>& readers(ValueId value) const { return uses_[static_cast<size_t>(value)].readers; }
  // The calls that write a State value, in order.
  const std::vector<int>& writers(ValueId value) const { return uses_[static_cast<size_t>(value)].writers; }
  // Whether the Program hands out the value.
  bool isOutput(ValueId value) const { return uses_[static_cast<size_t>(value)].isOutput; }

  // Replaces a call by another one in its place.
  void replace(int node, Node by);
  void erase(int node);
  // Removes the erased calls from ir.nodes. The index is of no use afterwards.
  void compact();

 private:
  struct Uses {
    std::vector<int> writers, readers;  // ascending
    bool isOutput = false;
  };
  void attach(int node);
  void detach(int node);

  Ir& ir_;
  std::vector<bool> alive_;
  std::vector<Uses> uses_;
};

}  // namespace tesserae
