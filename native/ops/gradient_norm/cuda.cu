#include <cmath>

#include "ops/attributes.h"
#include "ops/cuda_support.cuh"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;
constexpr int kChunk = 1024;     // elements that a block reads at once: four a thread
constexpr int kPartials = 1024;  // most blocks, and the threads that add up what they found

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

// norm = {norm of the mean gradient, multiplier, apply, learning rate}; see cpu.cc.
__global__ void __launch_bounds__(kPartials)
    normKernel(const double* partial, int partials, const double* loss, const float* seedScale,
               const float* learningRates, int64_t rates, const int64_t* counters, double maximum,
               float* out) {
  __shared__ double shared[kPartials / 32];
  const int i = static_cast<int>(threadIdx.x);
  const double squares = blockSum<kPartials>(i < partials ? partial[i] : 0.0, shared);
  if (i != 0) return;
  const double valid = loss[1], seed = seedScale[0];
  const double base = valid > 0 ? 1 / (seed * valid) : 0;
  const double norm = sqrt(squares) * base;
  const double clip = maximum > 0 && maximum < norm + 1e-6 ? maximum / (norm + 1e-6) : 1;
  const float rounded = static_cast<float>(norm);
  const int64_t applied = counters[kApplied];
  out[0] = rounded;
  out[1] = static_cast<float>(base * clip);
  out[2] = isfinite(rounded) && isfinite(loss[0]) && valid > 0 ? 1.0f : 0.0f;
  out[3] = learningRates[applied < rates ? applied : rates - 1];
}

void gradientNorm(const KernelContext& c) {
  const TensorView &gradients = c.inputs[0], &learningRates = c.inputs[3];
  const int64_t chunks = divideUp(gradients.elements, kChunk);
  const int blocks = chunks < kPartials ? static_cast<int>(chunks) : kPartials;
  double* partial = static_cast<double*>(c.workspace);  // the contract has room for one a chunk
  squaresKernel<<<blocks, kThreads, 0, cudaStream(c)>>>(gradients.f32(), gradients.elements, partial);
  cudaCheckLaunch("gradient_norm");
  normKernel<<<1, kPartials, 0, cudaStream(c)>>>(
      partial, blocks, c.inputs[1].f64(), c.inputs[2].f32(), learningRates.f32(), learningRates.elements,
      c.inputs[4].i64(), c.attributes->number("maxGradNorm", 0), c.outputs[0].f32());
  cudaCheckLaunch("gradient_norm");
}

}  // namespace

void register_gradient_norm_cuda(KernelRegistry& registry) { registry.add("gradient_norm", gradientNorm); }

}  // namespace tesserae
