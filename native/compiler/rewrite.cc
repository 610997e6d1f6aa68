// Fusion: each rule matches a producer and its consumer by operation, wherever they stand (forward, backward
// or across), and only where the consumer's or producer's contract absorbs the other on this device.
#include <algorithm>
#include <set>

#include "compiler/passes.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

class Rewriter {
 public:
  explicit Rewriter(Ir& ir) : ir_(ir) {}

  void run() {
    bool changed = true;
    while (changed) {
      changed = false;
      for (size_t i = 0; i < ir_.nodes.size() && !changed; ++i) {
        changed = activationIntoLinear(i) || activationBackwardIntoLinear(i) || addIntoEmbedding(i) ||
                  addIntoLayerNorm(i) || addIntoLayerNormBackward(i) || crossEntropyIntoLinear(i);
      }
    }
  }

 private:
  Node& node(size_t i) { return ir_.nodes[i]; }
  bool is(int i, const char* op) const { return i >= 0 && ir_.nodes[i].op->name == op; }

  bool absorbs(const Node& node, const char* what) const {
    for (const Absorption& absorption : node.op->absorbs) {
      if (absorption.device == ir_.device && absorption.what == what) return true;
    }
    return false;
  }

  // The only reader of a value that is not handed out; −1 otherwise.
  int onlyConsumer(ValueId value) const {
    if (value == kAbsent || ir_.isOutput(value)) return -1;
    const std::vector<int> readers = ir_.consumers(value);
    return readers.size() == 1 ? readers[0] : -1;
  }

  void erase(size_t i) { ir_.nodes.erase(ir_.nodes.begin() + static_cast<std::ptrdiff_t>(i)); }

  // linear → activation: one call that keeps the value before the activation if the backward pass reads it.
  bool activationIntoLinear(size_t i) {
    if (!is(static_cast<int>(i), "activation")) return false;
    const ValueId before = node(i).inputs[0];
    const int p = ir_.producer(before);
    if (!is(p, "linear") || !absorbs(node(p), "activation") || node(p).attributes.has("activation"))
      return false;
    Node& linear = node(p);
    linear.attributes =
        linear.attributes.with("activation", std::string(node(i).attributes.text("function")));
    linear.outputs = {node(i).outputs[0], before};
    erase(i);
    return true;
  }

  // linear_input_gradient → activation_backward: the product is scaled by the activation's derivative as it
  // is stored.
  bool activationBackwardIntoLinear(size_t i) {
    if (!is(static_cast<int>(i), "activation_backward")) return false;
    const ValueId product = node(i).inputs[0];
    const int p = ir_.producer(product);
    if (!is(p, "linear_input_gradient") || !absorbs(node(p), "activation_backward") ||
        onlyConsumer(product) < 0 || node(p).inputs[2] != kAbsent) {
      return false;
    }
    Node& linear = node(p);
    linear.inputs[2] = node(i).inputs[1];
    linear.attributes =
        linear.attributes.with("activation", std::string(node(i).attributes.text("function")));
    linear.outputs[0] = node(i).outputs[0];
    erase(i);
    return true;
  }

  // add(x, embedding) → the embedding adds to x.
  bool addIntoEmbedding(size_t i) {
    if (!is(static_cast<int>(i), "add") || node(i).inputs[0] == node(i).inputs[1]) return false;
    for (int side = 0; side < 2; ++side) {
      const ValueId looked = node(i).inputs[side];
      const int p = ir_.producer(looked);
      if (!is(p, "embedding") || !absorbs(node(p), "add") || onlyConsumer(looked) < 0 ||
          node(p).inputs[2] != kAbsent)
        continue;
      node(p).inputs[2] = node(i).inputs[1 - side];
      node(p).outputs[0] = node(i).outputs[0];
      erase(i);
      return true;
    }
    return false;
  }

  // add → layer_norm: the norm computes the residual sum and hands it on.
  bool addIntoLayerNorm(size_t i) {
    if (!is(static_cast<int>(i), "layer_norm") || !absorbs(node(i), "add") || node(i).inputs[3] != kAbsent)
      return false;
    const ValueId sum = node(i).inputs[0];
    const int p = ir_.producer(sum);
    if (!is(p, "add") || ir_.isState(sum)) return false;
    // One norm alone computes the sum: others that read it wait for this one.
    node(i).inputs[0] = node(p).inputs[0];
    node(i).inputs[3] = node(p).inputs[1];
    node(i).outputs[1] = sum;
    erase(static_cast<size_t>(p));
    return true;
  }

  // add(layer_norm_backward, around) → the gradient around a residual branch is added as dx is stored.
  bool addIntoLayerNormBackward(size_t i) {
    if (!is(static_cast<int>(i), "add") || node(i).inputs[0] == node(i).inputs[1]) return false;
    for (int side = 0; side < 2; ++side) {
      const ValueId dx = node(i).inputs[side];
      const int p = ir_.producer(dx);
      if (!is(p, "layer_norm_backward") || !absorbs(node(p), "add") || onlyConsumer(dx) < 0 ||
          node(p).inputs[5] != kAbsent)
        continue;
      if (dependsOn(node(i).inputs[1 - side], p)) continue;
      node(p).inputs[5] = node(i).inputs[1 - side];
      node(p).outputs[0] = node(i).outputs[0];
      erase(i);
      return true;
    }
    return false;
  }

  // Whether both write one State value, such as the gradient of a shared weight: their order is then fixed.
  bool writeAlike(int a, int b) const {
    for (ValueId output : ir_.nodes[a].outputs) {
      if (output == kAbsent || !ir_.isState(output)) continue;
      const std::vector<ValueId>& others = ir_.nodes[b].outputs;
      if (std::find(others.begin(), others.end(), output) != others.end()) return true;
    }
    return false;
  }

  // Whether computing a value has to wait for node p: fusing the two would then close a circle.
  bool dependsOn(ValueId value, int p) const {
    std::set<ValueId> seen;
    std::vector<ValueId> open = {value};
    while (!open.empty()) {
      const ValueId next = open.back();
      open.pop_back();
      if (next == kAbsent || ir_.isState(next) || !seen.insert(next).second) continue;
      const int at = ir_.producer(next);
      if (at == p || (at > p && writeAlike(at, p))) return true;
      if (at >= 0) open.insert(open.end(), ir_.nodes[at].inputs.begin(), ir_.nodes[at].inputs.end());
    }
    return false;
  }

  // linear → cross_entropy (→ their backward calls): logits live for a block of rows at a time.
  bool crossEntropyIntoLinear(size_t i) {
    if (!is(static_cast<int>(i), "cross_entropy")) return false;
    const ValueId logits = node(i).inputs[0];
    const int p = ir_.producer(logits);
    if (!is(p, "linear") || node(p).inputs[2] != kAbsent || node(p).attributes.has("activation") ||
        ir_.isOutput(logits))
      return false;
    const ValueId x = node(p).inputs[0], weight = node(p).inputs[1];
    if (!absorbs(node(i), "linear")) return false;
    int backward = -1, inputGradient = -1, weightGradient = -1;
    for (int reader : ir_.consumers(logits)) {
      if (reader == static_cast<int>(i)) continue;
      if (!is(reader, "cross_entropy_backward") || backward >= 0) return false;
      backward = reader;
    }
    ValueId dx = kAbsent, dweight = kAbsent;
    if (backward >= 0) {
      for (int reader : ir_.consumers(node(backward).outputs[0])) {
        if (is(reader, "linear_input_gradient") && inputGradient < 0) {
          inputGradient = reader;
          dx = node(reader).outputs[0];
        } else if (is(reader, "linear_weight_gradient") && weightGradient < 0) {
          weightGradient = reader;
          dweight = node(reader).outputs[0];
        } else {
          return false;
        }
      }
      if (inputGradient >= 0 && node(inputGradient).inputs[2] != kAbsent) return false;
    }
    Node fused = node(i);
    fused.op = &operation("linear_cross_entropy");
    fused.inputs = {x, weight, node(i).inputs[1], backward >= 0 ? node(i).inputs[2] : kAbsent};
    fused.outputs = {node(i).outputs[0], dx, dweight};
    std::vector<int> dead = {p, static_cast<int>(i), backward, inputGradient, weightGradient};
    std::sort(dead.rbegin(), dead.rend());
    const size_t place = i;
    ir_.nodes[place] = std::move(fused);
    for (int index : dead) {
      if (index >= 0 && index != static_cast<int>(place)) erase(static_cast<size_t>(index));
    }
    return true;
  }

  Ir& ir_;
};

}  // namespace

void rewrite(Ir& ir) { Rewriter(ir).run(); }

}  // namespace tesserae
