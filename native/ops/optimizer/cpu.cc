#include "ops/optimizer/rules.h"
#include "ops/registry.h"

namespace tesserae::TESSERAE_ISA {

namespace {

template <class Rule>
void update(const KernelContext& c, const typename Rule::Settings& settings) {
  const TensorView& momenta = c.inputs[kMomenta];
  const UpdateStep now = updateStep(*c.inputs[kNorm].as<GradientNorm>(), *c.inputs[kCounters].as<Counters>(),
                                    momenta.f32(), momenta.elements, settings.momentum());
  if (!now.applies) return;
  const Rule step = Rule::of(settings, now);
  const float* gradients = c.inputs[kGradients].f32();
  const ChunkSettings* chunkTable = c.inputs[kChunks].as<ChunkSettings>();
  float* parameters = c.outputs[kUpdated].f32();
  float* moment1 = c.outputs[kMoment1].f32();
  float* moment2 = Rule::kStates > 1 ? c.outputs[kMoment2].f32() : nullptr;
  const int64_t elements = c.outputs[kUpdated].elements,
                chunks = (elements + kChunkElements - 1) / kChunkElements;
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const double scale = chunkTable[chunk].rateScale;
    if (scale == 0) continue;  // frozen; if only the schedule is zero, moments still move
    Rule rule = step;
    rule.enter(chunkTable[chunk].weightDecay, scale);
    const int64_t end = (chunk + 1) * kChunkElements < elements ? (chunk + 1) * kChunkElements : elements;
#pragma omp simd
    for (int64_t i = chunk * kChunkElements; i < end; ++i) {
      float p = parameters[i], m = 0, v = 0;
      if constexpr (Rule::kStates > 0) m = moment1[i];
      if constexpr (Rule::kStates > 1) v = moment2[i];
      rule(gradients[i], p, m, v);
      parameters[i] = p;
      if constexpr (Rule::kStates > 0) moment1[i] = m;
      if constexpr (Rule::kStates > 1) moment2[i] = v;
    }
  }
}

void adamw(const KernelContext& c) { update<AdamRule>(c, adamSettings(*c.attributes, true)); }
void adam(const KernelContext& c) { update<AdamRule>(c, adamSettings(*c.attributes, false)); }
void radam(const KernelContext& c) { update<AdamRule>(c, radamSettings(*c.attributes)); }

void sgd(const KernelContext& c) {
  const SgdSettings settings = sgdSettings(*c.attributes);
  c.outputs[kMoment1].data ? update<SgdRule<1>>(c, settings) : update<SgdRule<0>>(c, settings);
}

}  // namespace

void register_optimizer_cpu(KernelRegistry& registry) {
  registry.add("adamw", adamw);
  registry.add("adam", adam);
  registry.add("radam", radam);
  registry.add("sgd", sgd);
}

}  // namespace tesserae::TESSERAE_ISA
