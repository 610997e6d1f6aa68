#include "ops/attributes.h"
#include "ops/gradient_norm/rule.h"
#include "ops/registry.h"
#include "ops/schedule.h"

namespace tesserae::TESSERAE_ISA {

namespace {

// The squares of a chunk are added first, then the chunks in order.
void gradientNorm(const KernelContext& c) {
  const float* gradients = c.inputs[0].f32();
  const int64_t elements = c.inputs[0].elements, chunks = (elements + kChunkElements - 1) / kChunkElements;
  const TensorView& learningRates = c.inputs[3];
  const double maxGradNorm = c.attributes->number("maxGradNorm", 0);
  double* partial = static_cast<double*>(c.workspace);
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t end = (chunk + 1) * kChunkElements < elements ? (chunk + 1) * kChunkElements : elements;
    double squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = chunk * kChunkElements; i < end; ++i) {
      const double g = gradients[i];
      squares += g * g;
    }
    partial[chunk] = squares;
  }
  double squares = 0;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) squares += partial[chunk];

  const float learningRate =
      scheduled(learningRates.f32(), learningRates.elements, c.inputs[4].as<Counters>()->applied);
  const LossTotal loss = totalOf(c.inputs[1].as<LossSum>(), c.attributes->integer("losses", 1),
                                 c.inputs[2].f32()[0], *c.inputs[5].as<LossScaler>());
  *c.outputs[0].as<GradientNorm>() = normOf(squares, loss, maxGradNorm, learningRate);
}

}  // namespace

void register_gradient_norm_cpu(KernelRegistry& registry) { registry.add("gradient_norm", gradientNorm); }

}  // namespace tesserae::TESSERAE_ISA
