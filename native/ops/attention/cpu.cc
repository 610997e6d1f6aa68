#include <omp.h>

#include "ops/attention/plan.h"
#include "ops/attributes.h"
#include "ops/cpu_gemm.h"
#include "ops/registry.h"
#include "ops/state.h"
#include "ops/vector_math.h"
#include "runtime/philox.h"

namespace tesserae::TESSERAE_ISA {

namespace {

// What both directions read of a call. Element (b, t, which, h, d) of qkv stands at
// ((b T + t) 3 + which) width + h Dp + d, width = H Dp.
struct Problem {
  int64_t batch, time, heads, head;  // head: Dp
  int64_t width, rowStride;          // of y and of qkv
  AttentionPlan plan;
  int64_t blocks;                   // of queries
  const int32_t *lengths, *starts;  // (B), (B, T) where rows have documents
  bool causal;
  float scale;
  float dropout;
  uint64_t key;  // of Philox
  uint32_t firstSample, attempted;
};

Problem problemOf(const KernelContext& c, const TensorView& qkv, const TensorView& lengths,
                  const TensorView& counters, const TensorView& starts) {
  Problem p;
  p.batch = qkv.factors[0].physical;
  p.time = qkv.factors[1].physical;
  p.heads = qkv.factors[3].physical;
  p.head = qkv.factors[4].physical;
  p.width = p.heads * p.head;
  p.rowStride = 3 * p.width;
  p.plan = planAttention(p.time);
  p.blocks = (p.time + p.plan.queryBlock - 1) / p.plan.queryBlock;
  p.lengths = lengths.i32();
  p.starts = starts.i32();
  p.causal = c.attributes->flag("causal");
  p.scale = static_cast<float>(
      c.attributes->number("scale", 1.0 / __builtin_sqrt(static_cast<double>(qkv.factors[4].logical))));
  p.dropout = static_cast<float>(c.attributes->number("dropout", 0));
  p.key = 0;
  p.firstSample = p.attempted = 0;
  if (p.dropout > 0) {
    p.key = static_cast<uint64_t>(counters.as<Counters>()->seed) ^ c.site;
    p.firstSample = static_cast<uint32_t>(counters.as<Counters>()->firstSample);
    p.attempted = static_cast<uint32_t>(counters.as<Counters>()->attempted);
  }
  return p;
}

// Positions of row b that hold tokens.
int64_t lengthOf(const Problem& p, int64_t b) {
  if (!p.lengths) return p.time;
  const int64_t length = p.lengths[b];
  return length < 0 ? 0 : (length < p.time ? length : p.time);
}

// Loops over a row of scores run to a multiple of kLanes, so that none has a slow remainder.
constexpr int64_t kLanes = 16;

int64_t roundUp(int64_t keys) { return (keys + kLanes - 1) / kLanes * kLanes; }

// Keys first..end - 1.
struct Keys {
  int64_t first, end;
};

// What queries first..last - 1 of row b see between them.
Keys keysOf(const Problem& p, int64_t b, int64_t first, int64_t last, int64_t length) {
  if (!p.starts) return {0, p.causal ? last : length};
  const int32_t* starts = p.starts + b * p.time;
  int64_t end = last;
  while (!p.causal && end < length && starts[end] == starts[last - 1]) ++end;
  return {starts[first], end};
}

// The scores of a block of queries begin with this key: whole draws of dropoutMask before the first one seen.
constexpr int64_t kDrawn = 4 * kLanes;
int64_t firstColumn(const Keys& keys) { return keys.first / kDrawn * kDrawn; }

// mask[i] = 0 or 1 / (1 - dropout) for the `keys` keys of a query from `first` on, a multiple of kDrawn.
void dropoutMask(const Problem& p, int64_t b, int64_t h, int64_t query, int64_t first, int64_t keys,
                 float* mask) {
  const float keep = 1.0f / (1.0f - p.dropout), threshold = p.dropout;
  const uint64_t key = p.key;
  const uint32_t row = static_cast<uint32_t>(h * p.time + query),
                 sample = p.firstSample + static_cast<uint32_t>(b);
  const uint32_t attempted = p.attempted, groups = static_cast<uint32_t>(keys + 3) / 4,
                 firstGroup = static_cast<uint32_t>(first / 4);
  for (uint32_t start = 0; start < groups; start += kLanes) {
    float* to = mask + 4 * static_cast<int64_t>(start);
#pragma omp simd
    for (uint32_t i = 0; i < kLanes; ++i) {
      const Philox4 bits = philox(key, firstGroup + start + i, row, sample, attempted);
      to[4 * i] = uniform01(bits.v[0]) >= threshold ? keep : 0.0f;
      to[4 * i + 1] = uniform01(bits.v[1]) >= threshold ? keep : 0.0f;
      to[4 * i + 2] = uniform01(bits.v[2]) >= threshold ? keep : 0.0f;
      to[4 * i + 3] = uniform01(bits.v[3]) >= threshold ? keep : 0.0f;
    }
  }
}

// -∞ for the scores of a query that it does not see, of those with `keys` from `column` on. Returns where the
// loops over them end; from there on nobody reads s before it is set to zero.
int64_t maskRow(const Problem& p, int64_t b, int64_t query, int64_t column, int64_t length, float* s) {
  const Keys seen = keysOf(p, b, query, query + 1, length);
  const int64_t end = seen.end - column, wide = roundUp(end);
  for (int64_t j = 0; j < seen.first - column; ++j) s[j] = -__builtin_inff();
  for (int64_t j = end; j < wide; ++j) s[j] = -__builtin_inff();
  return wide;
}

// scores (count, stride) of queries from `first` on with `keys` keys from `column` on: a row becomes
// e^(score - maximum), zero for keys that its query does not see; 1 / sum of each row goes to inverse, its
// logarithm to lse unless that is null.
void softmaxRows(const Problem& p, int64_t b, int64_t h, int64_t first, int64_t count, int64_t column,
                 int64_t keys, int64_t length, float* scores, float* mask, float* inverse, float* lse) {
  for (int64_t i = 0; i < count; ++i) {
    float* s = scores + i * p.plan.stride;
    const int64_t wide = maskRow(p, b, first + i, column, length, s);
    float maximum = s[0];
#pragma omp simd reduction(max : maximum)
    for (int64_t j = 0; j < wide; ++j) maximum = s[j] > maximum ? s[j] : maximum;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < wide; ++j) {
      const float e = vectorExp(s[j] - maximum);
      s[j] = e;
      sum += e;
    }
    for (int64_t j = wide; j < keys; ++j) s[j] = 0;
    if (p.dropout > 0) {
      dropoutMask(p, b, h, first + i, column, wide, mask);
#pragma omp simd
      for (int64_t j = 0; j < wide; ++j) s[j] *= mask[j];
    }
    inverse[i] = 1.0f / sum;
    if (lse) lse[i] = maximum + __builtin_logf(sum);
  }
}

constexpr int64_t kMostQueries = 64;  // a query block's rows at most

void attention(const KernelContext& c) {
  const float* qkv = c.inputs[0].f32();
  float *y = c.outputs[0].f32(), *lse = c.outputs[1].f32();
  const Problem p = problemOf(c, c.inputs[0], c.inputs[1], c.inputs[2], c.inputs[3]);
  const int64_t stride = p.plan.stride;
  // Dynamic: causal blocks differ in cost. What a task computes does not depend on who runs it.
#pragma omp parallel for schedule(dynamic) num_threads(c.threads)
  for (int64_t task = 0; task < p.batch * p.heads * p.blocks; ++task) {
    const int64_t b = task / (p.heads * p.blocks), h = task / p.blocks % p.heads;
    const int64_t first = task % p.blocks * p.plan.queryBlock, length = lengthOf(p, b);
    const int64_t end = first + p.plan.queryBlock < p.time ? first + p.plan.queryBlock : p.time;
    const int64_t last = end < length ? end : length;  // queries from here on give zero
    const float* q = qkv + b * p.time * p.rowStride + h * p.head;
    float* out = y + b * p.time * p.width + h * p.head;
    float* lseRow = lse ? lse + (b * p.heads + h) * p.time : nullptr;
    if (first < last) {
      float* scores = static_cast<float*>(c.workspace) + omp_get_thread_num() * p.plan.forwardFloats;
      float inverse[kMostQueries];
      const Keys seen = keysOf(p, b, first, last, length);
      const int64_t count = last - first, column = firstColumn(seen), keys = seen.end - column;
      const float *k = q + column * p.rowStride + p.width, *v = k + p.width;
      gemm('N', 'T', count, keys, p.head, p.scale, q + first * p.rowStride, p.rowStride, k, p.rowStride, 0.0f,
           scores, stride);
      softmaxRows(p, b, h, first, count, column, keys, length, scores, scores + p.plan.queryBlock * stride,
                  inverse, lseRow ? lseRow + first : nullptr);
      gemm('N', 'N', count, p.head, keys, 1.0f, scores, stride, v, p.rowStride, 0.0f, out + first * p.width,
           p.width);
      for (int64_t i = 0; i < count; ++i) {
        float* o = out + (first + i) * p.width;
#pragma omp simd
        for (int64_t d = 0; d < p.head; ++d) o[d] *= inverse[i];
      }
    }
    for (int64_t i = first > last ? first : last; i < end; ++i) {
      for (int64_t d = 0; d < p.head; ++d) out[i * p.width + d] = 0;
      if (lseRow) lseRow[i] = -__builtin_inff();
    }
  }
}

// probabilities (count, stride) holds scores and becomes P, what the forward pass multiplied with V;
// gradients holds dP = dO Vᵀ and becomes dS = P ∘ (dP - delta), delta = rowsum(dO ∘ O) (Dao et al. 2022,
// algorithm 4). With dropout the mask applies to P and dP, and delta is unchanged since O was made of the
// masked P.
void gradientRows(const Problem& p, int64_t b, int64_t h, int64_t first, int64_t count, int64_t column,
                  int64_t keys, int64_t length, const float* dy, const float* y, const float* lse,
                  float* probabilities, float* gradients, float* mask) {
  for (int64_t i = 0; i < count; ++i) {
    const float *o = y + i * p.width, *g = dy + i * p.width;
    float delta = 0;
#pragma omp simd reduction(+ : delta)
    for (int64_t d = 0; d < p.head; ++d) delta += o[d] * g[d];
    float* s = probabilities + i * p.plan.stride;
    float* ds = gradients + i * p.plan.stride;
    const int64_t wide = maskRow(p, b, first + i, column, length, s);
    const float denominator = lse[i];
    if (p.dropout > 0) {
      dropoutMask(p, b, h, first + i, column, wide, mask);
#pragma omp simd
      for (int64_t j = 0; j < wide; ++j) {
        const float e = vectorExp(s[j] - denominator);
        s[j] = e * mask[j];
        ds[j] = e * (ds[j] * mask[j] - delta);
      }
    } else {
#pragma omp simd
      for (int64_t j = 0; j < wide; ++j) {
        const float e = vectorExp(s[j] - denominator);
        s[j] = e;
        ds[j] = e * (ds[j] - delta);
      }
    }
    for (int64_t j = wide; j < keys; ++j) s[j] = ds[j] = 0;
  }
}

void attentionBackward(const KernelContext& c) {
  const float *dy = c.inputs[0].f32(), *qkv = c.inputs[1].f32(), *y = c.inputs[2].f32(),
              *lse = c.inputs[3].f32();
  float* dqkv = c.outputs[0].f32();
  const Problem p = problemOf(c, c.inputs[1], c.inputs[4], c.inputs[5], c.inputs[6]);
  const int64_t stride = p.plan.stride, row = p.rowStride;
  // A task is a head of a sample, since all its query blocks add to the same dK and dV.
#pragma omp parallel for schedule(dynamic) num_threads(c.threads)
  for (int64_t task = 0; task < p.batch * p.heads; ++task) {
    const int64_t b = task / p.heads, h = task % p.heads, length = lengthOf(p, b);
    const int64_t packed = b * p.time * row + h * p.head, plain = b * p.time * p.width + h * p.head;
    const float *q = qkv + packed, *k = q + p.width, *v = k + p.width;
    float *dq = dqkv + packed, *dk = dq + p.width, *dv = dk + p.width;
    float* probabilities = static_cast<float*>(c.workspace) + omp_get_thread_num() * p.plan.backwardFloats;
    float* gradients = probabilities + p.plan.queryBlock * stride;
    float* mask = gradients + p.plan.queryBlock * stride;
    // From the last block, which sees all keys and so stores dK and dV where the others add. With documents
    // it sees those of its own.
    for (int64_t t = 0; p.starts && t < length; ++t) {
      for (int64_t d = 0; d < p.head; ++d) dk[t * row + d] = dv[t * row + d] = 0;
    }
    const int64_t blocks = (length + p.plan.queryBlock - 1) / p.plan.queryBlock;
    for (int64_t block = blocks - 1; block >= 0; --block) {
      const int64_t first = block * p.plan.queryBlock;
      const int64_t last = first + p.plan.queryBlock < length ? first + p.plan.queryBlock : length;
      const Keys seen = keysOf(p, b, first, last, length);
      const int64_t count = last - first, column = firstColumn(seen), keys = seen.end - column;
      const float beta = !p.starts && block == blocks - 1 ? 0.0f : 1.0f;
      const float *qBlock = q + first * row, *dyBlock = dy + plain + first * p.width;
      const float *kBlock = k + column * row, *vBlock = v + column * row;
      gemm('N', 'T', count, keys, p.head, p.scale, qBlock, row, kBlock, row, 0.0f, probabilities, stride);
      gemm('N', 'T', count, keys, p.head, 1.0f, dyBlock, p.width, vBlock, row, 0.0f, gradients, stride);
      gradientRows(p, b, h, first, count, column, keys, length, dyBlock, y + plain + first * p.width,
                   lse + task * p.time + first, probabilities, gradients, mask);
      gemm('T', 'N', keys, p.head, count, 1.0f, probabilities, stride, dyBlock, p.width, beta,
           dv + column * row, row);
      gemm('N', 'N', count, p.head, keys, p.scale, gradients, stride, kBlock, row, 0.0f, dq + first * row,
           row);
      gemm('T', 'N', keys, p.head, count, p.scale, gradients, stride, qBlock, row, beta, dk + column * row,
           row);
    }
    for (int64_t t = length; t < p.time; ++t) {
      for (int64_t d = 0; d < p.head; ++d) dq[t * row + d] = dk[t * row + d] = dv[t * row + d] = 0;
    }
  }
}

}  // namespace

void register_attention_cpu(KernelRegistry& registry) {
  registry.add("attention", attention);
  registry.add("attention_backward", attentionBackward);
}

}  // namespace tesserae::TESSERAE_ISA
