// Fusion. A call whose operation is a piece (an activation, its slope, an addend) moves into the call before
// or after it, where that one's contract takes the piece. Of all the pairs, the one that saves most traffic
// goes first: it may leave the others nothing to take.
#include <algorithm>
#include <optional>
#include <set>
#include <tuple>

#include "compiler/passes.h"
#include "compiler/use_index.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

// A call that is a piece, and the call that could run it.
struct Candidate {
  int64_t savedBytes;
  int consumer, producer;  // of the value between them
  bool swapped;            // the piece's operands change places
  const Takes* takes;      // of the producer for an epilogue, of the consumer for a prologue

  // Most bytes first, then in the order of the calls.
  bool operator<(const Candidate& other) const {
    return std::make_tuple(-savedBytes, consumer, producer, swapped) <
           std::make_tuple(-other.savedBytes, other.consumer, other.producer, other.swapped);
  }
};

class Rewriter {
 public:
  explicit Rewriter(Ir& ir) : ir_(ir), uses_(ir), rank_(ir.nodes.size()) {
    for (size_t i = 0; i < rank_.size(); ++i) rank_[i] = static_cast<int>(i);
  }

  void run() {
    const int n = static_cast<int>(ir_.nodes.size());
    for (int i = 0; i < n; ++i) {
      if (uses_.isAlive(i) && node(i).op->name == "cross_entropy") fuseLoss(i);
    }
    for (int i = 0; i < n; ++i) {
      if (uses_.isAlive(i)) examineProducers(i);
    }
    while (!candidates_.empty()) {
      const Candidate next = *candidates_.begin();
      candidates_.erase(candidates_.begin());
      if (const std::optional<int> rank = rankOf(next)) fuse(next, *rank);
    }
    uses_.compact();
  }

 private:
  const Node& node(int i) const { return ir_.nodes[static_cast<size_t>(i)]; }
  int rank(int i) const { return rank_[static_cast<size_t>(i)]; }

  static ValueId input(const Node& node, const std::string& slot) {
    return node.inputs[static_cast<size_t>(slotIndex(node.op->inputs, slot))];
  }
  static ValueId& input(Node& node, const std::string& slot) {
    return node.inputs[static_cast<size_t>(slotIndex(node.op->inputs, slot))];
  }
  static ValueId& output(Node& node, const std::string& slot) {
    return node.outputs[static_cast<size_t>(slotIndex(node.op->outputs, slot))];
  }

  // --- Pieces ---

  void examineProducers(int consumer) {
    const std::vector<ValueId> inputs = node(consumer).inputs;
    for (ValueId value : inputs) {
      if (const int producer = uses_.producer(value); producer >= 0) examine(producer, consumer);
    }
  }

  // What a change of a call makes possible for it and its neighbours.
  void examineNeighbours(int changed) {
    examineProducers(changed);
    const std::vector<ValueId> outputs = node(changed).outputs;
    for (ValueId value : outputs) {
      if (value < 0 || ir_.isState(value)) continue;
      for (int reader : std::vector<int>(uses_.readers(value))) examine(changed, reader);
    }
  }

  void examine(int producer, int consumer) {
    const Operation &before = *node(producer).op, &after = *node(consumer).op;
    for (const Takes& takes : before.takes) {
      if (takes.side != Takes::Side::Epilogue || !after.piece || after.piece->piece != takes.piece) continue;
      for (bool swapped : {false, true}) {
        if (!swapped || after.piece->commutes) consider({0, consumer, producer, swapped, &takes});
      }
    }
    for (const Takes& takes : after.takes) {
      if (takes.side == Takes::Side::Prologue && before.piece && before.piece->piece == takes.piece)
        consider({0, consumer, producer, false, &takes});
    }
  }

  void consider(Candidate candidate) {
    if (!rankOf(candidate)) return;
    const ValueId between = valueBetween(candidate);
    const int64_t bytes = ir_.values[static_cast<size_t>(between)].spec.bytes();
    // The value is no longer read by one call, and no longer written unless others need it.
    candidate.savedBytes = isNeededElsewhere(between, candidate.consumer) ? bytes : 2 * bytes;
    candidates_.insert(candidate);
  }

  // The piece's operands: what it is applied to, and the rest.
  static std::pair<ValueId, ValueId> operandsOf(const Node& piece, bool swapped) {
    const ValueId through = input(piece, piece.op->piece->through);
    const ValueId operand =
        piece.op->piece->operand.empty() ? kAbsent : input(piece, piece.op->piece->operand);
    return swapped ? std::pair{operand, through} : std::pair{through, operand};
  }

  ValueId valueBetween(const Candidate& c) const {
    return c.takes->side == Takes::Side::Epilogue ? operandsOf(node(c.consumer), c.swapped).first
                                                  : node(c.producer).outputs[0];
  }

  bool isNeededElsewhere(ValueId value, int consumer) const {
    if (uses_.isOutput(value)) return true;
    const std::vector<int>& readers = uses_.readers(value);
    return std::any_of(readers.begin(), readers.end(), [&](int reader) { return reader != consumer; });
  }

  // Where the fused call can run, as the rank of one of the two; nothing when they can't be fused.
  std::optional<int> rankOf(const Candidate& c) const {
    if (!uses_.isAlive(c.producer) || !uses_.isAlive(c.consumer)) return std::nullopt;
    const Node &producer = node(c.producer), &consumer = node(c.consumer);
    const bool epilogue = c.takes->side == Takes::Side::Epilogue;
    const Node &piece = epilogue ? consumer : producer, &host = epilogue ? producer : consumer;
    const ValueId between = valueBetween(c);
    const std::vector<std::string>& slots = epilogue ? host.op->outputs : host.op->inputs;
    const std::vector<ValueId>& values = epilogue ? host.outputs : host.inputs;
    if (between < 0 || ir_.isState(between) ||
        values[static_cast<size_t>(slotIndex(slots, c.takes->on))] != between)
      return std::nullopt;
    const auto [through, operand] = operandsOf(piece, c.swapped);
    if (through == operand) return std::nullopt;
    if (!c.takes->operand.empty() && input(host, c.takes->operand) != kAbsent) return std::nullopt;
    if (!c.takes->setting.empty() && host.attributes.has(c.takes->setting.c_str())) return std::nullopt;
    if (isNeededElsewhere(between, c.consumer) && c.takes->keeps.empty()) return std::nullopt;
    std::optional<int> place;
    if (runsEarly(c, between)) {
      place = rank(c.producer);
    } else if (runsLate(c)) {
      place = rank(c.consumer);
    }
    if (!place) return std::nullopt;
    const Node call = fused(c);
    return ir_.chooser.choose(*call.op, ir_.shapeOf(call)) ? place : std::nullopt;
  }

  // Whether the consumer could run where the producer does.
  bool runsEarly(const Candidate& c, ValueId between) const {
    for (ValueId value : node(c.consumer).inputs) {
      const int producer = value == between ? -1 : uses_.producer(value);
      if (producer >= 0 && rank(producer) >= rank(c.producer)) return false;
    }
    return keepsStateOrder(c.consumer, c);
  }

  // Whether the producer could run where the consumer does.
  bool runsLate(const Candidate& c) const {
    for (ValueId value : node(c.producer).outputs) {
      if (value < 0 || ir_.isState(value)) continue;
      for (int reader : uses_.readers(value)) {
        if (reader != c.consumer && rank(reader) <= rank(c.consumer)) return false;
      }
    }
    return keepsStateOrder(c.producer, c);
  }

  // Whether no call between the two touches a State value that `moved` writes, such as the gradient of a
  // shared weight.
  bool keepsStateOrder(int moved, const Candidate& c) const {
    const auto between = [&](int other) {
      return other != moved && rank(other) > rank(c.producer) && rank(other) < rank(c.consumer);
    };
    for (ValueId value : node(moved).outputs) {
      if (value < 0 || !ir_.isState(value)) continue;
      const std::vector<int>&writers = uses_.writers(value), &readers = uses_.readers(value);
      if (std::any_of(writers.begin(), writers.end(), between) ||
          std::any_of(readers.begin(), readers.end(), between))
        return false;
    }
    return true;
  }

  // The host with the piece in it.
  Node fused(const Candidate& c) const {
    const bool epilogue = c.takes->side == Takes::Side::Epilogue;
    const Node& piece = node(epilogue ? c.consumer : c.producer);
    const ValueId between = valueBetween(c);
    const auto [through, operand] = operandsOf(piece, c.swapped);
    Node fused = node(epilogue ? c.producer : c.consumer);
    if (epilogue) {
      output(fused, c.takes->on) = piece.outputs[0];
    } else {
      input(fused, c.takes->on) = through;
    }
    if (!c.takes->operand.empty()) input(fused, c.takes->operand) = operand;
    if (isNeededElsewhere(between, c.consumer)) output(fused, c.takes->keeps) = between;
    if (!c.takes->setting.empty()) {
      const std::string setting = piece.attributes.text(piece.op->piece->setting.c_str());
      fused.attributes = fused.attributes.with(c.takes->setting, setting);
    }
    return fused;
  }

  // Puts the fused call in the host's place.
  void fuse(const Candidate& c, int rank) {
    const bool epilogue = c.takes->side == Takes::Side::Epilogue;
    const int host = epilogue ? c.producer : c.consumer;
    Node call = fused(c);
    uses_.erase(epilogue ? c.consumer : c.producer);
    uses_.replace(host, std::move(call));
    rank_[static_cast<size_t>(host)] = rank;
    examineNeighbours(host);
  }

  // --- The loss ---

  // linear → cross_entropy (→ their backward calls): logits live for a block of rows at a time.
  void fuseLoss(int loss) {
    const Node& lossNode = node(loss);
    const ValueId logits = input(lossNode, "logits");
    const int linear = uses_.producer(logits);
    if (linear < 0 || node(linear).op->name != "linear" || input(node(linear), "bias") != kAbsent ||
        node(linear).attributes.has("activation") || uses_.isOutput(logits))
      return;
    int backward = -1;
    for (int reader : uses_.readers(logits)) {
      if (reader == loss) continue;
      if (node(reader).op->name != "cross_entropy_backward" || backward >= 0) return;
      backward = reader;
    }
    int inputGradient = -1, weightGradient = -1;
    if (backward >= 0) {
      for (int reader : uses_.readers(node(backward).outputs[0])) {
        const std::string& name = node(reader).op->name;
        if (name == "linear_input_gradient" && inputGradient < 0 && input(node(reader), "pre") == kAbsent) {
          inputGradient = reader;
        } else if (name == "linear_weight_gradient" && weightGradient < 0) {
          weightGradient = reader;
        } else {
          return;
        }
      }
    }
    Node fused = lossNode;
    fused.op = &operation("linear_cross_entropy");
    fused.inputs = {input(node(linear), "x"), input(node(linear), "weight"), input(lossNode, "targets"),
                    backward >= 0 ? input(lossNode, "lossGradient") : kAbsent};
    fused.outputs = {lossNode.outputs[0], inputGradient >= 0 ? node(inputGradient).outputs[0] : kAbsent,
                     weightGradient >= 0 ? node(weightGradient).outputs[0] : kAbsent};
    for (int gone : {linear, backward, inputGradient, weightGradient}) {
      if (gone >= 0) uses_.erase(gone);
    }
    uses_.replace(loss, std::move(fused));
  }

  Ir& ir_;
  UseIndex uses_;
  std::vector<int> rank_;  // of each call: calls in the order of their ranks can run
  std::set<Candidate> candidates_;
};

}  // namespace

void rewrite(Ir& ir) { Rewriter(ir).run(); }

}  // namespace tesserae
