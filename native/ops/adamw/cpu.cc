#include <math.h>

#include "ops/attributes.h"
#include "ops/registry.h"

namespace tesserae::TESSERAE_ISA {

namespace {

constexpr int64_t kChunk = 1024;  // elements that share a weight decay and a learning rate

// In the order of operations of torch.optim.AdamW:
//   p = p * (1 - lr * weightDecay);  m = m + (g - m) * (1 - beta1);  v = v * beta2 + (1 - beta2) * g * g
//   p = p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
void adamw(const KernelContext& c) {
  enum { kNorm, kMultiplier, kApply, kLearningRate };
  const float* norm = c.inputs[5].f32();
  if (norm[kApply] == 0) return;
  const float* gradients = c.inputs[1].f32();
  const float* chunkTable = c.inputs[4].f32();  // (chunks, 2): weight decay factor, learning-rate scale
  float* parameters = c.outputs[0].f32();
  float* moment1 = c.outputs[1].f32();
  float* moment2 = c.outputs[2].f32();
  const int64_t elements = c.outputs[0].elements, chunks = (elements + kChunk - 1) / kChunk;
  const double t = static_cast<double>(c.inputs[6].i64()[kApplied] + 1);
  const double beta1 = c.attributes->number("beta1"), beta2 = c.attributes->number("beta2");
  const double weightDecay = c.attributes->number("weightDecay");
  const double correction1 = 1 - pow(beta1, t);
  const float correction2 = static_cast<float>(sqrt(1 - pow(beta2, t)));
  const float epsilon = static_cast<float>(c.attributes->number("epsilon"));
  const float multiplier = norm[kMultiplier];
  const float towards1 = static_cast<float>(1 - beta1);
  const float keep2 = static_cast<float>(beta2), towards2 = static_cast<float>(1 - beta2);
#pragma omp parallel for schedule(static) num_threads(c.threads)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const double scale = chunkTable[2 * chunk + 1];
    if (scale == 0) continue;  // frozen; where only the schedule stands at zero, moments still move
    const double rate = norm[kLearningRate] * scale;
    const float shrink = static_cast<float>(1 - rate * weightDecay * chunkTable[2 * chunk]);
    const float step = static_cast<float>(rate / correction1);
    const int64_t end = (chunk + 1) * kChunk < elements ? (chunk + 1) * kChunk : elements;
#pragma omp simd
    for (int64_t i = chunk * kChunk; i < end; ++i) {
      const float g = gradients[i] * multiplier;
      const float m = moment1[i] + (g - moment1[i]) * towards1;
      const float v = moment2[i] * keep2 + g * g * towards2;
      parameters[i] = parameters[i] * shrink - step * m / (sqrtf(v) / correction2 + epsilon);
      moment1[i] = m;
      moment2[i] = v;
    }
  }
}

}  // namespace

void register_adamw_cpu(KernelRegistry& registry) { registry.add("adamw", adamw); }

}  // namespace tesserae::TESSERAE_ISA
