#include "ops/attributes.h"
#include "ops/cuda_support.cuh"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;
constexpr int kChunk = 1024;  // elements that share a weight decay and a learning rate: four a thread

struct Settings {
  double beta1, beta2, weightDecay;
  float epsilon, towards1, keep2, towards2;
};

// One element, in the order of operations of torch.optim.AdamW; see cpu.cc.
struct Update {
  float multiplier, towards1, keep2, towards2, correction2, epsilon, shrink, step;

  __device__ __forceinline__ void operator()(float gradient, float& p, float& m, float& v) const {
    const float g = gradient * multiplier;
    m = m + (g - m) * towards1;
    v = v * keep2 + g * g * towards2;
    p = p * shrink - step * m / (sqrtf(v) / correction2 + epsilon);
  }
};

struct alignas(8) Half4 {
  uint16_t v[4];
};

template <class H>
__device__ __forceinline__ uint16_t halfBits(float x) {
  const H half = fromFloat<H>(x);
  return *reinterpret_cast<const uint16_t*>(&half);
}

// H: the type of the 16-bit copy that GEMMs read; float where there is none.
template <class H>
__global__ void __launch_bounds__(kThreads)
    adamwKernel(float* parameters, const float* gradients, float* moment1, float* moment2,
                const float* chunkTable, const float* norm, const int64_t* counters, H* halfCopy,
                int64_t elements, Settings settings) {
  enum { kNorm, kMultiplier, kApply, kLearningRate };
  constexpr bool kHalf = sizeof(H) == 2;
  __shared__ double inverse1;  // 1 / (1 - beta1^t)
  __shared__ float correction2;
  if (norm[kApply] == 0) return;  // all blocks alike
  if (threadIdx.x == 0) {
    const double t = static_cast<double>(counters[kApplied] + 1);
    inverse1 = 1 / (1 - pow(settings.beta1, t));
    correction2 = static_cast<float>(sqrt(1 - pow(settings.beta2, t)));
  }
  __syncthreads();
  Update update{norm[kMultiplier],
                settings.towards1,
                settings.keep2,
                settings.towards2,
                correction2,
                settings.epsilon,
                0,
                0};
  const int64_t chunks = divideUp(elements, kChunk);
  for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    const double scale = chunkTable[2 * chunk + 1];
    if (scale == 0) continue;  // frozen; where only the schedule stands at zero, moments still move
    const double rate = norm[kLearningRate] * scale;
    update.shrink = static_cast<float>(1 - rate * settings.weightDecay * chunkTable[2 * chunk]);
    update.step = static_cast<float>(rate * inverse1);
    const int64_t i = chunk * kChunk + threadIdx.x * 4;
    if (i + 4 <= elements) {
      const float4 g = *reinterpret_cast<const float4*>(gradients + i);
      float4 p = *reinterpret_cast<const float4*>(parameters + i);
      float4 m = *reinterpret_cast<const float4*>(moment1 + i);
      float4 v = *reinterpret_cast<const float4*>(moment2 + i);
      update(g.x, p.x, m.x, v.x);
      update(g.y, p.y, m.y, v.y);
      update(g.z, p.z, m.z, v.z);
      update(g.w, p.w, m.w, v.w);
      *reinterpret_cast<float4*>(parameters + i) = p;
      *reinterpret_cast<float4*>(moment1 + i) = m;
      *reinterpret_cast<float4*>(moment2 + i) = v;
      if constexpr (kHalf) {
        *reinterpret_cast<Half4*>(halfCopy + i) =
            Half4{{halfBits<H>(p.x), halfBits<H>(p.y), halfBits<H>(p.z), halfBits<H>(p.w)}};
      }
    } else {
      for (int64_t j = i; j < elements; ++j) {
        update(gradients[j], parameters[j], moment1[j], moment2[j]);
        if constexpr (kHalf) halfCopy[j] = fromFloat<H>(parameters[j]);
      }
    }
  }
}

void adamw(const KernelContext& c) {
  const TensorView &parameters = c.outputs[0], &halfCopy = c.outputs[3];
  const Attributes& a = *c.attributes;
  const double beta1 = a.number("beta1"), beta2 = a.number("beta2");
  const Settings settings{beta1,
                          beta2,
                          a.number("weightDecay"),
                          static_cast<float>(a.number("epsilon")),
                          static_cast<float>(1 - beta1),
                          static_cast<float>(beta2),
                          static_cast<float>(1 - beta2)};
  const int64_t chunks = divideUp(parameters.elements, kChunk);
  dispatchActivationType(halfCopy.data ? halfCopy.dtype : DType::F32, "adamw", [&](auto tag) {
    using H = typename decltype(tag)::Type;
    const int64_t resident = residentBlocks(adamwKernel<H>, kThreads, "adamw");
    const unsigned blocks = static_cast<unsigned>(chunks < resident ? chunks : resident);
    adamwKernel<H><<<blocks, kThreads, 0, cudaStream(c)>>>(
        parameters.f32(), c.inputs[1].f32(), c.outputs[1].f32(), c.outputs[2].f32(), c.inputs[4].f32(),
        c.inputs[5].f32(), c.inputs[6].i64(), static_cast<H*>(halfCopy.data), parameters.elements, settings);
  });
  cudaCheckLaunch("adamw");
}

}  // namespace

void register_adamw_cuda(KernelRegistry& registry) { registry.add("adamw", adamw); }

}  // namespace tesserae
