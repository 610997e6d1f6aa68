// The compiler's working form: operation calls over values, in an order that can run.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "compiler/chooser.h"
#include "compiler/graph.h"
#include "compiler/layout.h"
#include "ops/operation.h"

namespace tesserae {

// Who owns the memory behind a value. State belongs to the model, Session and Cache to a sampler, the last
// three to the device.
enum class Arena : uint8_t {
  Parameters,
  HalfCopy,  // 16-bit parameters for matrix products
  Gradients,
  Moment1,
  Moment2,
  Ema,       // the moving average of the parameters
  State,     // counters, loss, scaler, chunk table
  Schedule,  // learning rates of all steps, and momenta where they move
  Session,   // what a sampler keeps of its rows
  Cache,     // keys and values, in pages of positions: it grows at its end
  Inputs,
  Outputs,
  Workspace,
};
inline constexpr int kArenas = 13;
const char* arenaName(Arena arena);

struct Value {
  std::string name;
  TensorSpec spec;
  Arena arena = Arena::Workspace;
  int64_t offset = -1;  // bytes in the arena; of Inputs, Outputs and Workspace known after planning
};

enum class WriteMode : uint8_t {
  Store,
  StoreOrAdd,  // store in the first micro-step of an optimizer step, add in later ones
  Add,
};

struct Node {
  const Operation* op = nullptr;
  std::string name;
  std::string site;  // keys random numbers; a backward call has its forward call's
  std::vector<ValueId> inputs, outputs;
  Attributes attributes;
  std::vector<WriteMode> writes;  // per output, set by assignWrites
};

// The State arena: StepState, then ChunkSettings for each chunk. Byte offsets.
struct StateLayout {
  explicit StateLayout(const Layout& layout);
  int64_t chunks, bytes;
};

class Ir {
 public:
  Ir(const Graph& graph, const Layout& layout, Chooser& chooser)
      : graph(graph), layout(layout), chooser(chooser), precision(chooser.target().precision) {}

  const Graph& graph;
  const Layout& layout;
  Chooser& chooser;
  const Precision precision;

  std::vector<Value> values;
  std::vector<Node> nodes;
  std::map<std::string, ValueId> outputs;       // what the Program hands out, by role
  int64_t sessionBytes = 0, sessionReport = 0;  // the first bytes of a session are read by the host

  ValueId add(Value value);
  // Makes a call, infers its outputs and appends it. `outputs` may be shorter than the contract's: the rest
  // are kNew. State slots ('*') that are kNew or missing resolve to the State value of that name. Throws
  // ERR_SHAPE.
  std::vector<ValueId> emit(const std::string& operation, const std::string& name, const std::string& site,
                            std::vector<ValueId> inputs, Attributes attributes,
                            std::vector<ValueId> outputs = {});

  ValueId parameter(const std::string& name);  // fp32 master; one value however often it is used
  ValueId halfCopy(const std::string& name);
  ValueId gradient(const std::string& name);
  // Elements of the flat buffer of all gradients.
  ValueId gradientRange(int64_t begin, int64_t end);
  // A member of StepState, the chunks' settings, or a flat buffer by the name of its arena.
  ValueId stateValue(const std::string& name);
  ValueId session(const std::string& name, TensorSpec spec);  // allocated at the first call with a name

  ValueId cache(TensorSpec spec);  // of the sampler

  bool isOutput(ValueId value) const;
  CallShape shapeOf(const Node& node) const;
  bool isState(ValueId value) const;  // lives on after the Program

 private:
  ValueId once(const std::string& key, Value value);
  std::map<std::string, ValueId> named_;
};

}  // namespace tesserae
