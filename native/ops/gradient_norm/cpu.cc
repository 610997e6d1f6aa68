#include <math.h>

#include "ops/attributes.h"
#include "ops/registry.h"

namespace tesserae::TESSERAE_ISA {

namespace {

constexpr int64_t kChunk = 1024;  // elements whose squares are added first, then the chunks in order

// norm = {norm of the mean gradient, multiplier, apply, learning rate}. The gradients were seeded with `seed`
// for each valid target, so 1 / (seed * valid) makes them the gradient of the mean loss. Clipping is
// PyTorch's clip_grad_norm_.
void gradientNorm(const KernelContext& c) {
  const float* gradients = c.inputs[0].f32();
  const int64_t elements = c.inputs[0].elements, chunks = (elements + kChunk - 1) / kChunk;
  const double loss = c.inputs[1].f64()[0], valid = c.inputs[1].f64()[1], seed = c.inputs[2].f32()[0];
  const TensorView& learningRates = c.inputs[3];
  const int64_t applied = c.inputs[4].i64()[kApplied];
  const double maximum = c.attributes->number("maxGradNorm", 0);
  double* partial = static_cast<double*>(c.workspace);
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t end = (chunk + 1) * kChunk < elements ? (chunk + 1) * kChunk : elements;
    double squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = chunk * kChunk; i < end; ++i) {
      const double g = gradients[i];
      squares += g * g;
    }
    partial[chunk] = squares;
  }
  double squares = 0;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) squares += partial[chunk];

  const double base = valid > 0 ? 1 / (seed * valid) : 0;
  const double norm = sqrt(squares) * base;
  const double clip = maximum > 0 && maximum < norm + 1e-6 ? maximum / (norm + 1e-6) : 1;
  float* out = c.outputs[0].f32();
  out[0] = static_cast<float>(norm);
  out[1] = static_cast<float>(base * clip);
  out[2] = __builtin_isfinite(out[0]) && __builtin_isfinite(loss) && valid > 0 ? 1.0f : 0.0f;
  out[3] = learningRates.f32()[applied < learningRates.elements ? applied : learningRates.elements - 1];
}

}  // namespace

void register_gradient_norm_cpu(KernelRegistry& registry) { registry.add("gradient_norm", gradientNorm); }

}  // namespace tesserae::TESSERAE_ISA
