// A call that makes a tensor can sum its columns almost for free, a later one has to read it again. So
// outputs that are a piece of an input move to the input's producer, where its contract takes the piece. This
// runs on scheduled calls: what they take in from their neighbours is settled, and their order is that of
// execution.
#include <algorithm>
#include <utility>

#include "compiler/passes.h"
#include "compiler/use_index.h"

namespace tesserae {

namespace {

class OutputMover {
 public:
  explicit OutputMover(Ir& ir) : ir_(ir), uses_(ir) {}

  void run() {
    const int n = static_cast<int>(ir_.nodes.size());
    for (int i = 0; i < n; ++i) {
      if (node(i).op->outputPiece) move(i);
    }
    uses_.compact();
  }

 private:
  const Node& node(int i) const { return ir_.nodes[static_cast<size_t>(i)]; }

  static ValueId input(const Node& node, const std::string& slot) {
    return node.inputs[static_cast<size_t>(slotIndex(node.op->inputs, slot))];
  }
  static ValueId& output(Node& node, const std::string& slot) {
    return node.outputs[static_cast<size_t>(slotIndex(node.op->outputs, slot))];
  }

  void move(int consumer) {
    Node rest = node(consumer);
    const OutputPiece& piece = *rest.op->outputPiece;
    const ValueId of = input(rest, piece.of), result = std::exchange(output(rest, piece.output), kAbsent);
    const int producer = uses_.producer(of);
    if (result == kAbsent || producer < 0 || !keepsStateOrder(result, producer, consumer)) return;
    for (const Takes& takes : node(producer).op->takes) {
      Node host = node(producer);
      if (takes.piece != piece.piece || output(host, takes.on) != of) continue;
      if (std::exchange(output(host, takes.into), result) != kAbsent) continue;
      if (!ir_.chooser.choose(*host.op, ir_.shapeOf(host))) continue;
      if (std::all_of(rest.outputs.begin(), rest.outputs.end(), [](ValueId v) { return v == kAbsent; })) {
        uses_.erase(consumer);
      } else {
        uses_.replace(consumer, std::move(rest));
      }
      uses_.replace(producer, std::move(host));
      return;
    }
  }

  // Whether no call between the two touches the result, such as the gradient of a shared bias: who stores it
  // and who adds to it goes by the order of the calls.
  bool keepsStateOrder(ValueId result, int producer, int consumer) const {
    const auto isBetween = [&](int other) { return other > producer && other < consumer; };
    const std::vector<int>&writers = uses_.writers(result), &readers = uses_.readers(result);
    return std::none_of(writers.begin(), writers.end(), isBetween) &&
           std::none_of(readers.begin(), readers.end(), isBetween);
  }

  Ir& ir_;
  UseIndex uses_;
};

}  // namespace

void moveOutputs(Ir& ir) { OutputMover(ir).run(); }

}  // namespace tesserae
