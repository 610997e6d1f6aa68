#include "ops/cuda_support.cuh"
#include "ops/registry.h"
#include "ops/state.h"

namespace tesserae {

namespace {

__global__ void advanceCountersKernel(Counters* counters, const GradientNorm* norm) {
  counters->attempted += 1;
  counters->applied += norm->applies != 0 ? 1 : 0;
  counters->firstSample = 0;
}

void advanceCounters(const KernelContext& c) {
  advanceCountersKernel<<<1, 1, 0, cudaStream(c)>>>(c.outputs[0].as<Counters>(),
                                                    c.inputs[1].as<GradientNorm>());
  cudaCheckLaunch("advance_counters");
}

}  // namespace

void register_advance_counters_cuda(KernelRegistry& registry) {
  registry.add("advance_counters", advanceCounters);
}

}  // namespace tesserae
