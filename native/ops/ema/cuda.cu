#include "ops/attributes.h"
#include "ops/cuda_support.cuh"
#include "ops/registry.h"
#include "ops/state.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) emaKernel(const float* parameters, const GradientNorm* norm,
                                                      float* average, int64_t quads, float towards) {
  if (norm->applies == 0) return;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < quads; i += stride) {
    const float4 p = reinterpret_cast<const float4*>(parameters)[i];
    float4 a = reinterpret_cast<const float4*>(average)[i];
    a.x += (p.x - a.x) * towards;
    a.y += (p.y - a.y) * towards;
    a.z += (p.z - a.z) * towards;
    a.w += (p.w - a.w) * towards;
    reinterpret_cast<float4*>(average)[i] = a;
  }
}

void ema(const KernelContext& c) {
  const int64_t elements = c.outputs[0].elements;
  requireVectors("ema", elements);  // flat buffers are whole chunks
  const int64_t quads = elements / 4, wanted = divideUp(quads, kThreads);
  const int64_t resident = residentBlocks(emaKernel, kThreads, "ema");
  const unsigned blocks = static_cast<unsigned>(wanted < resident ? wanted : resident);
  emaKernel<<<blocks, kThreads, 0, cudaStream(c)>>>(c.inputs[0].f32(), c.inputs[1].as<GradientNorm>(),
                                                    c.outputs[0].f32(), quads,
                                                    static_cast<float>(1 - c.attributes->number("decay")));
  cudaCheckLaunch("ema");
}

}  // namespace

void register_ema_cuda(KernelRegistry& registry) { registry.add("ema", ema); }

}  // namespace tesserae
