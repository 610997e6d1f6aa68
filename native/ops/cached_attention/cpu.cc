#include <math.h>
#include <omp.h>

#include "ops/attributes.h"
#include "ops/cpu_gemm.h"
#include "ops/registry.h"
#include "ops/sampling.h"
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
  const bool isPacked = c.inputs[0].data != nullptr;
  const TensorView& q = c.inputs[isPacked ? 0 : 4];   // (B, T, 3, H, D→Dp) or (B, T, H, D→Dp)
  const TensorView& kv = c.inputs[isPacked ? 0 : 5];  // the same or (B, T, 2, G, D→Dp)
  const TensorView& cache = c.outputs[1];             // (pages, layers, 2, B, positions of a page, G, D→Dp)
  const int32_t* start = c.inputs[2].i32();
  const int32_t* lengths = c.inputs[3].i32();
  float* y = c.outputs[0].f32();  // (B, T, H, D→Dp)
  const int64_t batch = q.factors[0].physical, time = q.factors[1].physical;
  const int64_t heads = q.factors[isPacked ? 3 : 2].physical, width = kv.factors[4].physical;
  const int64_t group = heads / kv.factors[3].physical;     // heads of queries that share one of keys
  const int64_t row = heads * width, keyRow = row / group;  // of y; of the cache
  const float* newKeys = kv.f32() + (isPacked ? row : 0);   // the values are keyRow elements after them
  const int64_t positions = cache.factors[0].physical * kPagePositions, layers = cache.factors[1].physical;
  const int64_t layer = c.attributes->integer("layer", 0);
  // Keys (0) or values (1) of a row's position.
  const auto place = [&](int64_t kind, int64_t b, int64_t position) {
    const int64_t page = position / kPagePositions;
    return cache.f32() +
           ((((page * layers + layer) * 2 + kind) * batch + b) * kPagePositions + position % kPagePositions) *
               keyRow;
  };
  const float scale =
      static_cast<float>(c.attributes->number("scale", 1 / sqrt(static_cast<double>(kv.factors[4].logical))));
  const int64_t block = time < kQueryBlock ? time : kQueryBlock, blocks = (time + block - 1) / block;
  float* workspace = static_cast<float*>(c.workspace);  // (threads, block, positions)
#pragma omp parallel num_threads(c.threads)
  {
#pragma omp for schedule(static)
    for (int64_t i = 0; i < batch * time; ++i) {
      const int64_t b = i / time, t = i % time;
      if (t >= lengths[b]) continue;
      const float* from = newKeys + i * kv.columns;
      float *key = place(0, b, start[b] + t), *value = place(1, b, start[b] + t);
#pragma omp simd
      for (int64_t d = 0; d < keyRow; ++d) {
        key[d] = from[d];
        value[d] = from[keyRow + d];
      }
    }
    float* scores = workspace + omp_get_thread_num() * block * positions;
#pragma omp for schedule(static)
    for (int64_t job = 0; job < batch * heads * blocks; ++job) {
      const int64_t b = job / (heads * blocks), head = job / blocks % heads, first = job % blocks * block;
      const int64_t end = first + block < time ? first + block : time;
      const int64_t fresh = lengths[b];
      const int64_t queries = fresh <= first ? 0 : (fresh < end ? fresh : end) - first;
      const int64_t inKeys = head / group * width;
      const float* query = q.f32() + (b * time + first) * q.columns + head * width;  // rows q.columns apart
      float* out = y + (b * time + first) * row + head * width;                      // rows `row` apart
      const int64_t span = start[b] + first + queries;
      for (int64_t at = 0; queries > 0 && at < span; at += kPagePositions) {
        const int64_t keys = at + kPagePositions < span ? kPagePositions : span - at;
        gemm('N', 'T', queries, keys, width, scale, query, q.columns, place(0, b, at) + inKeys, keyRow, 0,
             scores + at, span);
      }
      for (int64_t t = 0; t < queries; ++t) softmax(scores + t * span, start[b] + first + t + 1, span);
      for (int64_t at = 0; queries > 0 && at < span; at += kPagePositions) {
        const int64_t keys = at + kPagePositions < span ? kPagePositions : span - at;
        gemm('N', 'N', queries, width, keys, 1, scores + at, span, place(1, b, at) + inKeys, keyRow,
             at > 0 ? 1.0f : 0.0f, out, row);
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
