// The contract of an operation: everything that the compiler must know about it, and nothing about how it is
// computed. Each operation has a folder: ops/<name>/<name>.cc registers the contract (and that of its
// backward companions), cpu.cc and cuda.cu the kernels. Contracts are in the .cc, so that plans for a GPU
// work in a build without CUDA.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ops/attributes.h"
#include "ops/choice.h"
#include "runtime/axis.h"
#include "runtime/device.h"

namespace tesserae {

using ValueId = int32_t;
inline constexpr ValueId kAbsent = -1;  // an optional input or output that is not there
inline constexpr ValueId kNew = -2;     // in GradientContext::emit: make a new value for this output

// An operation call seen by shape: specs in the contract's order, null where an optional one is absent.
struct CallShape {
  std::vector<const TensorSpec*> inputs;
  std::vector<const TensorSpec*> outputs;
  const Attributes& attributes;
};

struct Cost {
  double matrixFlops =
      0;  // multiply-adds of matrix products, counted twice; run at the matrix rate of the precision
  double vectorFlops = 0;  // everything else
  double extraBytes =
      0;  // traffic beyond one read of each input and one write of each output; may be negative
};

// What a shape rule sees and fills. Every check goes through require, so that messages name the node.
class InferContext {
 public:
  virtual ~InferContext() = default;
  virtual bool has(int input) const = 0;
  virtual const TensorSpec& input(int input) const = 0;
  virtual const Attributes& attributes() const = 0;
  virtual DType activationType() const = 0;  // of the model's precision
  virtual void output(int output, TensorSpec spec) = 0;
  [[noreturn]] virtual void reject(const std::string& why) const = 0;  // throws ERR_SHAPE, naming the node
  void require(bool condition, const std::string& why) const {
    if (!condition) reject(why);
  }
};

// What a gradient rule sees. It emits backward operations and says to which input each result belongs.
class GradientContext {
 public:
  virtual ~GradientContext() = default;
  virtual const Attributes& attributes() const = 0;
  virtual ValueId input(int input) const = 0;      // kAbsent when absent
  virtual ValueId output(int output) = 0;          // makes an optional output present: a saved tensor
  virtual bool needs(int input) const = 0;         // does a gradient flow to this input
  virtual ValueId outputGradient(int output) = 0;  // kAbsent when none flows into it
  // The State value that holds the gradient of a trainable parameter (it may be stored to or added to: the
  // compiler decides by order), kNew for an activation, kAbsent when the input needs no gradient. Pass it to
  // emit as an output.
  virtual ValueId target(int input) = 0;
  // Appends one call; returns the output values. `outputs` holds targets, kNew or kAbsent. The call draws the
  // same random numbers as the forward call (same site).
  virtual std::vector<ValueId> emit(const std::string& operation, std::vector<ValueId> inputs,
                                    Attributes attributes, std::vector<ValueId> outputs) = 0;
  // Adds `gradient` to what flows into an activation input. Ignores parameters (their targets were written by
  // emit) and inputs that need none.
  virtual void flow(int input, ValueId gradient) = 0;
};

// Arithmetic that a call can run in place of another call, before (prologue) or after (epilogue) its own.
enum class Piece : uint8_t {
  Activation,  // f(x); the setting is the name of f
  Slope,       // dy ∘ f'(x), the operand; the setting is the name of f
  Addend,      // a + b
  ColumnSums,  // Σ of the rows, an output besides what it is applied to
};

// Declares that an operation is only a piece: its first output is the piece applied to the input `through`.
struct AsPiece {
  Piece piece;
  std::string through;
  std::string operand = {};  // the input that holds the piece's operand
  std::string setting = {};  // the attribute that holds the piece's setting
  bool commutes = false;     // `through` and `operand` may change places
};

// Declares that an optional output is a piece applied to the input `of`: the call that makes the input may
// compute it too.
struct OutputPiece {
  Piece piece;
  std::string output, of;
};

// Declares that an operation can run a piece, and in which of its slots.
struct Takes {
  enum class Side : uint8_t { Prologue, Epilogue };
  Piece piece;
  Side side;
  std::string on;  // prologue: the input that the piece makes; epilogue: the output it is applied to
  std::string operand = {};  // the optional input for the piece's operand
  std::string setting = {};  // the attribute for the piece's setting
  std::string keeps = {};    // the optional output for the value between, when others read it too
  std::string into = {};     // the optional output for a result that does not replace `on`
};

// Calls of one lane run in order. Those of two lanes may run at the same time, until the lanes join at the
// end of the Program.
enum class Lane : uint8_t { Compute, Communication };

struct Operation {
  std::string name;
  std::vector<std::string>
      inputs;  // in order; a trailing '?' marks an optional one, '*' one that is a State value of that name
  std::vector<std::string> outputs;  // likewise
  void (*infer)(InferContext&) = nullptr;
  void (*gradient)(GradientContext&) =
      nullptr;  // null: none flows through, which is an error on the way to a loss
  Cost (*cost)(const CallShape&) = nullptr;  // null: bytes alone
  // How a call is computed on a target; nothing when no kernel does. A fused call that has no choice stays
  // two calls. Null: by the one kernel with the operation's name.
  std::optional<KernelChoice> (*choose)(const CallShape&, const Target&) = nullptr;
  // Bytes of scratch memory that a call needs. Null: none.
  int64_t (*workspace)(const CallShape&, const Target&, const KernelChoice&) = nullptr;
  struct Alias {
    int output, input;
  };
  std::vector<Alias> aliases =
      {};                      // the output may take over the input's memory if nobody reads it afterwards
  bool stopsGradient = false;  // on purpose: what is before it is not trained by what is behind it
  std::optional<AsPiece> piece = {};
  std::optional<OutputPiece> outputPiece = {};
  std::vector<Takes> takes = {};
  Lane lane = Lane::Compute;
};

bool isOptional(const std::string& slot);
bool isState(const std::string& slot);
std::string slotName(const std::string& slot);                                  // without its marks
int slotIndex(const std::vector<std::string>& slots, const std::string& name);  // -1 when there is none

}  // namespace tesserae
