// Adds up a range of State over all ranks, in place. Every rank gets the same bits.
#include "ops/registry.h"

namespace tesserae {

namespace {

void inferAllReduce(InferContext& c) {
  const DType type = c.input(0).dtype;
  c.require(type == DType::F32 || type == DType::F64, "only float32 and float64 are added up over ranks");
  c.output(0, c.input(0));
}

// Each rank adds up its part.
Cost allReduceCost(const CallShape& c) {
  const double elements = static_cast<double>(c.inputs[0]->physicalElements()),
               world = static_cast<double>(c.attributes.integer("world", 1));
  return {.vectorFlops = elements * (world - 1) / world};
}

// Ranks are threads that compute on the CPU: there is no kernel for CUDA.
std::optional<KernelChoice> chooseAllReduce(const CallShape&, const Target& target) {
  if (target.isCuda()) return std::nullopt;
  return KernelChoice{"all_reduce"};
}

}  // namespace

void register_all_reduce(OperationRegistry& registry) {
  registry.add({.name = "all_reduce",
                .inputs = {"x"},
                .outputs = {"y"},
                .infer = inferAllReduce,
                .cost = allReduceCost,
                .choose = chooseAllReduce,
                .lane = Lane::Communication});
}

}  // namespace tesserae
