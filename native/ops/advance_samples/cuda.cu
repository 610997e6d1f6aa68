#include "ops/attributes.h"
#include "ops/cuda_support.cuh"
#include "ops/registry.h"

namespace tesserae {

namespace {

__global__ void advanceSamplesKernel(int64_t* counters, int64_t rows) { counters[kFirstSample] += rows; }

void advanceSamples(const KernelContext& c) {
  advanceSamplesKernel<<<1, 1, 0, cudaStream(c)>>>(c.outputs[0].i64(), c.attributes->integer("rows", 0));
  cudaCheckLaunch("advance_samples");
}

}  // namespace

void register_advance_samples_cuda(KernelRegistry& registry) {
  registry.add("advance_samples", advanceSamples);
}

}  // namespace tesserae
