#include "ops/attributes.h"
#include "ops/cuda_support.cuh"
#include "ops/gradient_norm/rule.h"
#include "ops/registry.h"
#include "ops/schedule.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;
constexpr int kChunk = kThreads * 4;  // elements that a block reads at once: four a thread
constexpr int kPartials = 1024;       // most blocks, and the threads that add up what they found

// partial[block] = Σ g² over the block's chunks: every gridDim.x-th. In fp64: squares of fp32 neither
// overflow nor lose digits.
__global__ void __launch_bounds__(kThreads)
    squaresKernel(const float* gradients, int64_t elements, double* partial) {
  __shared__ double shared[kThreads / 32];
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kChunk, whole = elements / 4 * 4;
  double squares = 0;
#pragma unroll 4
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kChunk + threadIdx.x * 4; i < whole; i += stride) {
    const float4 g = *reinterpret_cast<const float4*>(gradients + i);
    const double x = g.x, y = g.y, z = g.z, w = g.w;
    squares += (x * x + y * y) + (z * z + w * w);
  }
  if (blockIdx.x == 0 && threadIdx.x < elements - whole) {
    const double g = gradients[whole + threadIdx.x];
    squares += g * g;
  }
  squares = blockSum<kThreads>(squares, shared);
  if (threadIdx.x == 0) partial[blockIdx.x] = squares;
}

__global__ void __launch_bounds__(kPartials)
    normKernel(const double* partial, int partials, const LossSum* losses, int64_t count,
               const float* lossGradient, const LossScaler* scaler, const float* learningRates, int64_t steps,
               const Counters* counters, double maxGradNorm, GradientNorm* out) {
  __shared__ double shared[kPartials / 32];
  const int i = static_cast<int>(threadIdx.x);
  const double squares = blockSum<kPartials>(i < partials ? partial[i] : 0.0, shared);
  if (i != 0) return;
  const LossTotal loss = totalOf(losses, count, lossGradient[0], *scaler);
  *out = normOf(squares, loss, maxGradNorm, scheduled(learningRates, steps, counters->applied));
}

void gradientNorm(const KernelContext& c) {
  const TensorView &gradients = c.inputs[0], &learningRates = c.inputs[3];
  const int64_t chunks = divideUp(gradients.elements, kChunk);
  const int blocks = chunks < kPartials ? static_cast<int>(chunks) : kPartials;
  double* partial = static_cast<double*>(c.workspace);  // the contract has room for one a chunk
  squaresKernel<<<blocks, kThreads, 0, cudaStream(c)>>>(gradients.f32(), gradients.elements, partial);
  cudaCheckLaunch("gradient_norm");
  normKernel<<<1, kPartials, 0, cudaStream(c)>>>(
      partial, blocks, c.inputs[1].as<LossSum>(), c.attributes->integer("losses", 1), c.inputs[2].f32(),
      c.inputs[5].as<LossScaler>(), learningRates.f32(), learningRates.elements, c.inputs[4].as<Counters>(),
      c.attributes->number("maxGradNorm", 0), c.outputs[0].as<GradientNorm>());
  cudaCheckLaunch("gradient_norm");
}

}  // namespace

void register_gradient_norm_cuda(KernelRegistry& registry) { registry.add("gradient_norm", gradientNorm); }

}  // namespace tesserae
