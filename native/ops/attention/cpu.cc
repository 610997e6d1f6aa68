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

// What both directions read of a call. Head h of query t of row b is at (b queries + t) queryStride + h head
// in q and its gradient, and at (b keys + t) keyStride + (h / group) head in keys and values.
struct Problem {
  int64_t batch, queries, keys, heads, head;  // queries and keys: of a row; head: Dp
  int64_t group;                              // heads of queries that share one of keys
  int64_t width, queryStride, keyStride;      // of y; of q; of keys and values
  AttentionPlan plan;
  int64_t blocks;                                       // of queries
  const int32_t *lengths, *starts, *keyBegin, *keyEnd;  // null where absent
  bool isPacked, causal;
  float scale;
  float dropout;
  uint64_t key;  // of Philox
  uint32_t firstSample, attempted;
};

// Queries, keys and values, or their gradients: of all rows, or of one head of a row.
struct Operands {
  float *q, *k, *v;
};

// Both directions have these inputs in the same order, after those that differ.
enum { kLengths, kCounters, kStarts, kQ, kKv, kKeyBegin, kKeyEnd };

Problem problemOf(const KernelContext& c, const TensorView& qkv, const TensorView* inputs) {
  const bool isPacked = qkv.data != nullptr;
  const TensorView &q = isPacked ? qkv : inputs[kQ], &kv = isPacked ? qkv : inputs[kKv];
  const Extent* heads = q.factors + (isPacked ? 3 : 2);  // heads, head
  Problem p;
  p.isPacked = isPacked;
  p.batch = q.factors[0].physical;
  p.queries = q.factors[1].physical;
  p.keys = kv.factors[1].physical;
  p.heads = heads[0].physical;
  p.head = heads[1].physical;
  p.group = p.heads / kv.factors[3].physical;
  p.width = p.heads * p.head;
  p.queryStride = q.columns;
  p.keyStride = kv.columns;
  p.plan = planAttention(p.keys);
  p.blocks = (p.queries + p.plan.queryBlock - 1) / p.plan.queryBlock;
  p.lengths = inputs[kLengths].i32();
  p.starts = inputs[kStarts].i32();
  p.keyBegin = inputs[kKeyBegin].i32();
  p.keyEnd = inputs[kKeyEnd].i32();
  p.causal = c.attributes->flag("causal");
  p.scale = static_cast<float>(
      c.attributes->number("scale", 1.0 / __builtin_sqrt(static_cast<double>(heads[1].logical))));
  p.dropout = static_cast<float>(c.attributes->number("dropout", 0));
  p.key = 0;
  p.firstSample = p.attempted = 0;
  if (p.dropout > 0) {
    const Counters* counters = inputs[kCounters].as<Counters>();
    p.key = static_cast<uint64_t>(counters->seed) ^ c.site;
    p.firstSample = static_cast<uint32_t>(counters->firstSample);
    p.attempted = static_cast<uint32_t>(counters->attempted);
  }
  return p;
}

Operands operandsOf(const Problem& p, const TensorView& qkv, const TensorView& q, const TensorView& kv) {
  if (p.isPacked) return {qkv.f32(), qkv.f32() + p.width, qkv.f32() + 2 * p.width};
  return {q.f32(), kv.f32(), kv.f32() + p.keyStride / 2};
}

Operands headOf(const Problem& p, const Operands& all, int64_t b, int64_t h) {
  const int64_t key = b * p.keys * p.keyStride + h / p.group * p.head;
  return {all.q + b * p.queries * p.queryStride + h * p.head, all.k + key, all.v + key};
}

// Keys of row b that hold tokens.
int64_t keysIn(const Problem& p, int64_t b) {
  if (!p.lengths) return p.keys;
  const int64_t length = p.lengths[b];
  return length < 0 ? 0 : (length < p.keys ? length : p.keys);
}

// Queries of row b that may see a key; if packed, lengths bound them too.
int64_t queriesIn(const Problem& p, int64_t b) { return p.isPacked ? keysIn(p, b) : p.queries; }

// Loops over a row of scores run to a multiple of kLanes, so they have no slow remainder.
constexpr int64_t kLanes = 16;

int64_t roundUp(int64_t keys) { return (keys + kLanes - 1) / kLanes * kLanes; }

// Keys first..end - 1; none where end is 0.
struct Keys {
  int64_t first, end;
};

// What a query of row b sees of its `length` keys.
Keys keysOf(const Problem& p, int64_t b, int64_t query, int64_t length) {
  Keys seen{0, length};
  if (p.causal && query + 1 + p.keys - p.queries < length) seen.end = query + 1 + p.keys - p.queries;
  if (p.starts) {
    const int32_t* starts = p.starts + b * p.keys;
    const int32_t start = starts[query];
    seen.first = start;
    if (!p.causal) {
      int64_t end = query + 1;
      while (end < length && starts[end] == start) ++end;
      seen.end = end;
    }
  }
  const int64_t at = b * p.queries + query;
  if (p.keyBegin && p.keyBegin[at] > 0) seen.first = p.keyBegin[at];
  if (p.keyEnd && p.keyEnd[at] < seen.end) seen.end = p.keyEnd[at];
  return seen.first < seen.end ? seen : Keys{0, 0};
}

constexpr int64_t kMostQueries = 64;  // a query block's rows at most

// What queries first..last - 1 of row b see: each of them, and all between them.
struct BlockKeys {
  Keys of[kMostQueries];
  Keys all;
};

void findKeys(const Problem& p, int64_t b, int64_t first, int64_t last, BlockKeys& keys) {
  const int64_t length = keysIn(p, b);
  keys.all = {length, 0};
  for (int64_t query = first; query < last; ++query) {
    const Keys seen = keys.of[query - first] = keysOf(p, b, query, length);
    if (seen.end == 0) continue;
    if (seen.first < keys.all.first) keys.all.first = seen.first;
    if (seen.end > keys.all.end) keys.all.end = seen.end;
  }
}

// The first key of a block's scores: the first one seen, rounded down to a whole draw of dropoutMask.
constexpr int64_t kDrawn = 4 * kLanes;
int64_t firstColumn(const Keys& keys) { return keys.first / kDrawn * kDrawn; }

// mask[i] = 0 or 1 / (1 - dropout) for the `keys` keys of a query from `first` on, a multiple of kDrawn.
void dropoutMask(const Problem& p, int64_t b, int64_t h, int64_t query, int64_t first, int64_t keys,
                 float* mask) {
  const float keep = 1.0f / (1.0f - p.dropout), threshold = p.dropout;
  const uint64_t key = p.key;
  const uint32_t row = static_cast<uint32_t>(h * p.queries + query),
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

// -∞ for scores from `column` on of a query that it does not see. Returns where the loops over them end; s is
// set to zero from there on before anything reads it.
int64_t maskRow(const Keys& seen, int64_t column, float* s) {
  if (seen.end == 0) return 0;
  const int64_t end = seen.end - column, wide = roundUp(end);
  for (int64_t j = 0; j < seen.first - column; ++j) s[j] = -__builtin_inff();
  for (int64_t j = end; j < wide; ++j) s[j] = -__builtin_inff();
  return wide;
}

// scores (count, stride) of queries from `first` on, from the key `column` on: a row becomes
// e^(score - maximum), zero for keys that its query does not see; 1 / sum of each row goes to inverse, or
// zero where it sees none, its logarithm to lse unless that is null.
void softmaxRows(const Problem& p, int64_t b, int64_t h, int64_t first, int64_t count, int64_t column,
                 const BlockKeys& seen, float* scores, float* mask, float* inverse, float* lse) {
  const int64_t keys = seen.all.end - column;
  for (int64_t i = 0; i < count; ++i) {
    float* s = scores + i * p.plan.stride;
    const int64_t wide = maskRow(seen.of[i], column, s);
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
    inverse[i] = wide > 0 ? 1.0f / sum : 0.0f;
    if (lse) lse[i] = wide > 0 ? maximum + __builtin_logf(sum) : -__builtin_inff();
  }
}

void attention(const KernelContext& c) {
  float *y = c.outputs[0].f32(), *lse = c.outputs[1].f32();
  const TensorView *qkv = c.inputs, *inputs = c.inputs + 1;
  const Problem p = problemOf(c, *qkv, inputs);
  const Operands operands = operandsOf(p, *qkv, inputs[kQ], inputs[kKv]);
  const int64_t stride = p.plan.stride;
  // Dynamic: causal blocks differ in cost. What a task computes does not depend on who runs it.
#pragma omp parallel for schedule(dynamic) num_threads(c.threads)
  for (int64_t task = 0; task < p.batch * p.heads * p.blocks; ++task) {
    const int64_t b = task / (p.heads * p.blocks), h = task / p.blocks % p.heads;
    const int64_t first = task % p.blocks * p.plan.queryBlock, queries = queriesIn(p, b);
    const int64_t end = first + p.plan.queryBlock < p.queries ? first + p.plan.queryBlock : p.queries;
    const int64_t last = end < queries ? end : queries;
    float* out = y + b * p.queries * p.width + h * p.head;
    float* lseRow = lse ? lse + (b * p.heads + h) * p.queries : nullptr;
    BlockKeys seen;
    findKeys(p, b, first, last, seen);
    const bool isEmpty = seen.all.end == 0;
    if (!isEmpty) {
      float* scores = static_cast<float*>(c.workspace) + omp_get_thread_num() * p.plan.forwardFloats;
      float inverse[kMostQueries];
      const int64_t count = last - first, column = firstColumn(seen.all), keys = seen.all.end - column;
      const Operands of = headOf(p, operands, b, h);
      const float *k = of.k + column * p.keyStride, *v = of.v + column * p.keyStride;
      gemm('N', 'T', count, keys, p.head, p.scale, of.q + first * p.queryStride, p.queryStride, k,
           p.keyStride, 0.0f, scores, stride);
      softmaxRows(p, b, h, first, count, column, seen, scores, scores + p.plan.queryBlock * stride, inverse,
                  lseRow ? lseRow + first : nullptr);
      gemm('N', 'N', count, p.head, keys, 1.0f, scores, stride, v, p.keyStride, 0.0f, out + first * p.width,
           p.width);
      for (int64_t i = 0; i < count; ++i) {
        float* o = out + (first + i) * p.width;
#pragma omp simd
        for (int64_t d = 0; d < p.head; ++d) o[d] *= inverse[i];
      }
    }
    for (int64_t i = isEmpty ? first : last; i < end; ++i) {
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
                  const BlockKeys& seen, const float* dy, const float* y, const float* lse,
                  float* probabilities, float* gradients, float* mask) {
  const int64_t keys = seen.all.end - column;
  for (int64_t i = 0; i < count; ++i) {
    const float *o = y + i * p.width, *g = dy + i * p.width;
    float delta = 0;
#pragma omp simd reduction(+ : delta)
    for (int64_t d = 0; d < p.head; ++d) delta += o[d] * g[d];
    float* s = probabilities + i * p.plan.stride;
    float* ds = gradients + i * p.plan.stride;
    const int64_t wide = maskRow(seen.of[i], column, s);
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

void setZero(float* x, int64_t rowStride, int64_t first, int64_t end, int64_t head) {
  for (int64_t t = first; t < end; ++t) {
    for (int64_t d = 0; d < head; ++d) x[t * rowStride + d] = 0;
  }
}

void attentionBackward(const KernelContext& c) {
  const float *dy = c.inputs[0].f32(), *y = c.inputs[2].f32(), *lse = c.inputs[3].f32();
  const TensorView *qkv = c.inputs + 1, *inputs = c.inputs + 4;
  const Problem p = problemOf(c, *qkv, inputs);
  const Operands operands = operandsOf(p, *qkv, inputs[kQ], inputs[kKv]);
  const Operands gradients = operandsOf(p, c.outputs[0], c.outputs[1], c.outputs[2]);
  const int64_t stride = p.plan.stride, ldq = p.queryStride, ldk = p.keyStride;
  // A task is one head of keys of one sample, because all query blocks of its group add to the same dK and
  // dV.
#pragma omp parallel for schedule(dynamic) num_threads(c.threads)
  for (int64_t task = 0; task < p.batch * p.heads / p.group; ++task) {
    const int64_t b = task * p.group / p.heads, firstHead = task * p.group % p.heads;
    const int64_t queries = queriesIn(p, b), length = keysIn(p, b);
    const int64_t blocks = (queries + p.plan.queryBlock - 1) / p.plan.queryBlock;
    float* probabilities = static_cast<float*>(c.workspace) + omp_get_thread_num() * p.plan.backwardFloats;
    float* dScores = probabilities + p.plan.queryBlock * stride;
    float* mask = dScores + p.plan.queryBlock * stride;
    // From the last block, which sees all keys and so stores dK and dV where the others add. With documents
    // or ranges it sees those of its own.
    bool adds = p.starts || p.keyBegin || p.keyEnd;
    const Operands shared = headOf(p, gradients, b, firstHead);
    setZero(shared.k, ldk, adds ? 0 : length, p.keys, p.head);
    setZero(shared.v, ldk, adds ? 0 : length, p.keys, p.head);
    for (int64_t h = firstHead; h < firstHead + p.group; ++h) {
      const Operands of = headOf(p, operands, b, h), to = headOf(p, gradients, b, h);
      const int64_t plain = b * p.queries * p.width + h * p.head;
      for (int64_t block = blocks - 1; block >= 0; --block) {
        const int64_t first = block * p.plan.queryBlock;
        const int64_t last = first + p.plan.queryBlock < queries ? first + p.plan.queryBlock : queries;
        BlockKeys seen;
        findKeys(p, b, first, last, seen);
        if (seen.all.end == 0) {
          setZero(to.q, ldq, first, last, p.head);
          continue;
        }
        const int64_t count = last - first, column = firstColumn(seen.all), keys = seen.all.end - column;
        const float beta = adds ? 1.0f : 0.0f;
        const float *q = of.q + first * ldq, *k = of.k + column * ldk, *v = of.v + column * ldk;
        const float* dyBlock = dy + plain + first * p.width;
        gemm('N', 'T', count, keys, p.head, p.scale, q, ldq, k, ldk, 0.0f, probabilities, stride);
        gemm('N', 'T', count, keys, p.head, 1.0f, dyBlock, p.width, v, ldk, 0.0f, dScores, stride);
        gradientRows(p, b, h, first, count, column, seen, dyBlock, y + plain + first * p.width,
                     lse + (b * p.heads + h) * p.queries + first, probabilities, dScores, mask);
        gemm('T', 'N', keys, p.head, count, 1.0f, probabilities, stride, dyBlock, p.width, beta,
             to.v + column * ldk, ldk);
        gemm('N', 'N', count, p.head, keys, p.scale, dScores, stride, k, ldk, 0.0f, to.q + first * ldq, ldq);
        gemm('T', 'N', keys, p.head, count, p.scale, dScores, stride, q, ldq, beta, to.k + column * ldk, ldk);
        adds = true;
      }
      setZero(to.q, ldq, queries, p.queries, p.head);
    }
  }
}

}  // namespace

void register_attention_cpu(KernelRegistry& registry) {
  registry.add("attention", attention);
  registry.add("attention_backward", attentionBackward);
}

}  // namespace tesserae::TESSERAE_ISA
