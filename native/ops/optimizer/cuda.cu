#include "ops/cuda_support.cuh"
#include "ops/optimizer/rules.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;
static_assert(kChunkElements == 4 * kThreads, "a thread takes four elements of a chunk");

struct alignas(8) Half4 {
  uint16_t v[4];
};

template <class H>
__device__ __forceinline__ uint16_t halfBits(float x) {
  const H half = fromFloat<H>(x);
  return *reinterpret_cast<const uint16_t*>(&half);
}

// The flat buffers of a step; null where an optimizer has no such moment.
template <class H>
struct Buffers {
  const float* gradients;
  const ChunkSettings* chunkTable;
  const GradientNorm* norm;
  const float* momenta;
  const Counters* counters;
  int64_t elements, steps;
  float *parameters, *moment1, *moment2;
  H* halfCopy;
};

// H: the type of the 16-bit copy that GEMMs read; float where there is none.
template <class H, class Rule>
__global__ void __launch_bounds__(kThreads) updateKernel(Buffers<H> b, typename Rule::Settings settings) {
  constexpr bool kHalf = sizeof(H) == 2;
  __shared__ Rule shared;
  const UpdateStep now = updateStep(*b.norm, *b.counters, b.momenta, b.steps, settings.momentum());
  if (!now.applies) return;  // the same in all blocks
  if (threadIdx.x == 0) shared = Rule::of(settings, now);
  __syncthreads();
  Rule rule = shared;
  const int64_t chunks = divideUp(b.elements, kChunkElements);
  for (int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    const double scale = b.chunkTable[chunk].rateScale;
    if (scale == 0) continue;  // frozen; if only the schedule is zero, moments still move
    rule.enter(b.chunkTable[chunk].weightDecay, scale);
    const int64_t i = chunk * kChunkElements + threadIdx.x * 4;
    if (i + 4 <= b.elements) {
      const float4 g = *reinterpret_cast<const float4*>(b.gradients + i);
      float4 p = *reinterpret_cast<const float4*>(b.parameters + i), m{}, v{};
      if constexpr (Rule::kStates > 0) m = *reinterpret_cast<const float4*>(b.moment1 + i);
      if constexpr (Rule::kStates > 1) v = *reinterpret_cast<const float4*>(b.moment2 + i);
      rule(g.x, p.x, m.x, v.x);
      rule(g.y, p.y, m.y, v.y);
      rule(g.z, p.z, m.z, v.z);
      rule(g.w, p.w, m.w, v.w);
      *reinterpret_cast<float4*>(b.parameters + i) = p;
      if constexpr (Rule::kStates > 0) *reinterpret_cast<float4*>(b.moment1 + i) = m;
      if constexpr (Rule::kStates > 1) *reinterpret_cast<float4*>(b.moment2 + i) = v;
      if constexpr (kHalf) {
        *reinterpret_cast<Half4*>(b.halfCopy + i) =
            Half4{{halfBits<H>(p.x), halfBits<H>(p.y), halfBits<H>(p.z), halfBits<H>(p.w)}};
      }
    } else {
      for (int64_t j = i; j < b.elements; ++j) {
        float p = b.parameters[j], m = 0, v = 0;
        if constexpr (Rule::kStates > 0) m = b.moment1[j];
        if constexpr (Rule::kStates > 1) v = b.moment2[j];
        rule(b.gradients[j], p, m, v);
        b.parameters[j] = p;
        if constexpr (Rule::kStates > 0) b.moment1[j] = m;
        if constexpr (Rule::kStates > 1) b.moment2[j] = v;
        if constexpr (kHalf) b.halfCopy[j] = fromFloat<H>(p);
      }
    }
  }
}

template <class Rule>
void update(const KernelContext& c, const typename Rule::Settings& settings, const char* operation) {
  const TensorView &parameters = c.outputs[kUpdated], &halfCopy = c.outputs[kHalfCopy],
                   &momenta = c.inputs[kMomenta];
  const int64_t chunks = divideUp(parameters.elements, kChunkElements);
  dispatchActivationType(halfCopy.data ? halfCopy.dtype : DType::F32, operation, [&](auto tag) {
    using H = typename decltype(tag)::Type;
    const Buffers<H> buffers{c.inputs[kGradients].f32(),
                             c.inputs[kChunks].as<ChunkSettings>(),
                             c.inputs[kNorm].as<GradientNorm>(),
                             momenta.f32(),
                             c.inputs[kCounters].as<Counters>(),
                             parameters.elements,
                             momenta.elements,
                             parameters.f32(),
                             c.outputs[kMoment1].f32(),
                             Rule::kStates > 1 ? c.outputs[kMoment2].f32() : nullptr,
                             static_cast<H*>(halfCopy.data)};
    const int64_t resident = residentBlocks(updateKernel<H, Rule>, kThreads, operation);
    const unsigned blocks = static_cast<unsigned>(chunks < resident ? chunks : resident);
    updateKernel<H, Rule><<<blocks, kThreads, 0, cudaStream(c)>>>(buffers, settings);
  });
  cudaCheckLaunch(operation);
}

void adamw(const KernelContext& c) { update<AdamRule>(c, adamSettings(*c.attributes, true), "adamw"); }
void adam(const KernelContext& c) { update<AdamRule>(c, adamSettings(*c.attributes, false), "adam"); }
void radam(const KernelContext& c) { update<AdamRule>(c, radamSettings(*c.attributes), "radam"); }

void sgd(const KernelContext& c) {
  const SgdSettings settings = sgdSettings(*c.attributes);
  c.outputs[kMoment1].data ? update<SgdRule<1>>(c, settings, "sgd") : update<SgdRule<0>>(c, settings, "sgd");
}

}  // namespace

void register_optimizer_cuda(KernelRegistry& registry) {
  registry.add("adamw", adamw);
  registry.add("adam", adam);
  registry.add("radam", radam);
  registry.add("sgd", sgd);
}

}  // namespace tesserae
