#include <math.h>
#include <omp.h>

#include "ops/attributes.h"
#include "ops/cpu_gemm.h"
#include "ops/registry.h"
#include "ops/vector_math.h"

namespace tesserae::TESSERAE_ISA {

namespace {

constexpr int64_t kQueryBlock = 64;

// Softmax of the first `visible` scores in place; the others get no weight.
inline void softmax(float* scores, int64_t visible, int64_t span) {
  float maximum = scores[0];
#pragma omp simd reduction(max : maximum)
  for (int64_t j = 0; j < visible; ++j) maximum = scores[j] > maximum ? scores[j] : maximum;
  float total = 0;
#pragma omp simd reduction(+ : total)
  for (int64_t j = 0; j < visible; ++j) {
    scores[j] = vectorExp(scores[j] - maximum);
    total += scores[j];
  }
  const float inverse = 1 / total;
#pragma omp simd
  for (int64_t j = 0; j < visible; ++j) scores[j] *= inverse;
  for (int64_t j = visible; j < span; ++j) scores[j] = 0;
}

void cachedAttention(const KernelContext& c) {
  const TensorView& qkv = c.inputs[0];     // (B, T, 3, H, D→Dp)
  const TensorView& cache = c.outputs[1];  // (B, K, H, D→Dp)
  float* keys = c.outputs[1].f32();
  float* values = c.outputs[2].f32();
  const int32_t* start = c.inputs[3].i32();
  const int32_t* lengths = c.inputs[4].i32();
  float* y = c.outputs[0].f32();  // (B, T, H, D→Dp)
  const int64_t batch = qkv.factors[0].physical, time = qkv.factors[1].physical;
  const int64_t heads = qkv.factors[3].physical, width = qkv.factors[4].physical, row = heads * width;
  const int64_t positions = cache.factors[1].physical;
  const float scale = static_cast<float>(
      c.attributes->number("scale", 1 / sqrt(static_cast<double>(qkv.factors[4].logical))));
  const int64_t block = time < kQueryBlock ? time : kQueryBlock, blocks = (time + block - 1) / block;
  float* workspace = static_cast<float*>(c.workspace);  // (threads, block, K)
#pragma omp parallel num_threads(c.threads)
  {
#pragma omp for schedule(static)
    for (int64_t i = 0; i < batch * time; ++i) {
      const int64_t b = i / time, t = i % time, position = start[b] + t;
      // A finished row steps on until the host looks: never beyond its cache.
      if (t >= lengths[b] || position >= positions) continue;
      const float* from = qkv.f32() + i * 3 * row;
      float* key = keys + (b * positions + position) * row;
      float* value = values + (b * positions + position) * row;
#pragma omp simd
      for (int64_t d = 0; d < row; ++d) {
        key[d] = from[row + d];
        value[d] = from[2 * row + d];
      }
    }
    float* scores = workspace + omp_get_thread_num() * block * positions;
#pragma omp for schedule(static)
    for (int64_t job = 0; job < batch * heads * blocks; ++job) {
      const int64_t b = job / (heads * blocks), head = job / blocks % heads, first = job % blocks * block;
      const int64_t end = first + block < time ? first + block : time;
      const int64_t room = positions - start[b], fresh = lengths[b] < room ? lengths[b] : room;
      const int64_t queries = fresh <= first ? 0 : (fresh < end ? fresh : end) - first;
      const float* query = qkv.f32() + (b * time + first) * 3 * row + head * width;  // rows 3 * row apart
      const float* key = keys + b * positions * row + head * width;  // rows `row` apart, as below
      const float* value = values + b * positions * row + head * width;
      float* out = y + (b * time + first) * row + head * width;
      if (queries > 0) {
        const int64_t span = start[b] + first + queries;
        gemm('N', 'T', queries, span, width, scale, query, 3 * row, key, row, 0, scores, span);
        for (int64_t t = 0; t < queries; ++t) softmax(scores + t * span, start[b] + first + t + 1, span);
        gemm('N', 'N', queries, width, span, 1, scores, span, value, row, 0, out, row);
      }
      for (int64_t t = queries; t < end - first; ++t) {
        for (int64_t d = 0; d < width; ++d) out[t * row + d] = 0;
      }
    }
  }
}

}  // namespace

void register_cached_attention_cpu(KernelRegistry& registry) {
  registry.add("cached_attention", cachedAttention);
}

}  // namespace tesserae::TESSERAE_ISA
