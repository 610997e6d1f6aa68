#include "ops/cuda_support.cuh"
#include "ops/registry.h"

namespace tesserae {

namespace {

__global__ void advanceCountersKernel(int64_t* counters, const float* norm) {
  enum { kNorm, kMultiplier, kApply };
  counters[kAttempted] += 1;
  counters[kApplied] += norm[kApply] != 0 ? 1 : 0;
  counters[kFirstSample] = 0;
}

void advanceCounters(const KernelContext& c) {
  advanceCountersKernel<<<1, 1, 0, cudaStream(c)>>>(c.outputs[0].i64(), c.inputs[1].f32());
  cudaCheckLaunch("advance_counters");
}

}  // namespace

void register_advance_counters_cuda(KernelRegistry& registry) {
  registry.add("advance_counters", advanceCounters);
}

}  // namespace tesserae
