#include "ops/registry.h"

namespace tesserae::TESSERAE_ISA {

namespace {

void tokenTypes(const KernelContext& c) {
  const int32_t *tokens = c.inputs[0].i32(), *start = c.inputs[1].i32(), *of = c.inputs[2].i32();
  const TensorView& at = c.inputs[3];  // (B, positions)
  for (int64_t b = 0; b < at.rows; ++b) {
    const int32_t placed = start[b] < at.columns ? at.i32()[b * at.columns + start[b]] : -1;
    const bool known = tokens[b] >= 0 && tokens[b] < c.inputs[2].logicalColumns;
    c.outputs[0].i32()[b] = placed >= 0 ? placed : known ? of[tokens[b]] : 0;
  }
}

}  // namespace

void register_token_types_cpu(KernelRegistry& registry) { registry.add("token_types", tokenTypes); }

}  // namespace tesserae::TESSERAE_ISA
