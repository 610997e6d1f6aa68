#include <cmath>

#include "ops/attention/plain.cuh"
#include "ops/attention/sm80.cuh"
#include "ops/attributes.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kGreatestHead = 256;

AttentionArguments argumentsOf(const KernelContext& c, const TensorView& qkv, const TensorView& lengths,
                               const TensorView& counters, const TensorView& starts, const char* operation) {
  AttentionArguments a{};
  a.qkv = qkv.data;
  a.lengths = lengths.i32();
  a.starts = starts.i32();
  a.counters = counters.as<Counters>();
  a.site = c.site;
  a.batch = static_cast<int32_t>(qkv.factors[0].physical);
  a.time = static_cast<int32_t>(qkv.factors[1].physical);
  a.heads = static_cast<int32_t>(qkv.factors[3].physical);
  a.head = static_cast<int32_t>(qkv.factors[4].physical);
  a.scale = static_cast<float>(
      c.attributes->number("scale", 1.0 / std::sqrt(static_cast<double>(qkv.factors[4].logical))));
  a.dropout = static_cast<float>(c.attributes->number("dropout", 0));
  a.causal = c.attributes->flag("causal");
  requireVectors(operation, a.head);
  if (a.head > kGreatestHead) {
    fail(ErrorCode::Config, "%s: heads of %d are not supported on CUDA; use at most %d", operation, a.head,
         kGreatestHead);
  }
  return a;
}

// delta (B, H, T) = rowsum(dy ∘ y); eight threads a head of a position.
template <class T>
__global__ void __launch_bounds__(256)
    sumProducts(const T* dy, const T* y, float* delta, int64_t count, int heads, int head, int time) {
  const int64_t index = (static_cast<int64_t>(blockIdx.x) * 256 + threadIdx.x) / 8;  // (b, t, h)
  float sum = 0;
  if (index < count) {
    for (int d = threadIdx.x % 8 * kVector; d < head; d += 8 * kVector) {
      float u[kVector], v[kVector];
      loadVector(dy + index * head + d, u);
      loadVector(y + index * head + d, v);
#pragma unroll
      for (int j = 0; j < kVector; ++j) sum = fmaf(u[j], v[j], sum);
    }
  }
#pragma unroll
  for (int offset = 4; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
  if (index >= count || threadIdx.x % 8 > 0) return;
  const int64_t h = index % heads, t = index / heads % time, b = index / heads / time;
  delta[(b * heads + h) * time + t] = sum;
}

// qkv (B, T, 3, H, D→Dp) -> y (B, T, H, D→Dp), lse (B, H, T)
// kPlain: fp32; otherwise 16-bit types on tensor cores. kDocuments: with starts.
template <bool kPlain, bool kDocuments>
void attention(const KernelContext& c) {
  const TensorView &qkv = c.inputs[0], &y = c.outputs[0];
  requireTypes("attention", qkv.dtype, {&y});
  AttentionArguments a = argumentsOf(c, qkv, c.inputs[1], c.inputs[2], c.inputs[3], "attention");
  a.y = y.data;
  a.lse = c.outputs[1].f32();
  dispatchActivationType(qkv.dtype, "attention", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    if constexpr (std::is_same_v<T, float> && kPlain) {
      launchPlainForward<kDocuments>(a, cudaStream(c));
    } else if constexpr (!std::is_same_v<T, float> && !kPlain) {
      launchForward16<T, kDocuments>(a, cudaStream(c));
    }
  });
}

template <bool kPlain, bool kDocuments>
void attentionBackward(const KernelContext& c) {
  const TensorView &dy = c.inputs[0], &qkv = c.inputs[1], &y = c.inputs[2], &dqkv = c.outputs[0];
  requireTypes("attention_backward", qkv.dtype, {&dy, &y, &dqkv});
  AttentionArguments a = argumentsOf(c, qkv, c.inputs[4], c.inputs[5], c.inputs[6], "attention_backward");
  a.dy = dy.data;
  a.lse = c.inputs[3].f32();
  a.delta = static_cast<float*>(c.workspace);
  a.dqkv = dqkv.data;
  const int64_t count = static_cast<int64_t>(a.batch) * a.time * a.heads;
  dispatchActivationType(qkv.dtype, "attention_backward", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    sumProducts<<<static_cast<unsigned>(divideUp(count * 8, 256)), 256, 0, cudaStream(c)>>>(
        static_cast<const T*>(dy.data), static_cast<const T*>(y.data), a.delta, count, a.heads, a.head,
        a.time);
    cudaCheckLaunch("attention_backward");
    if constexpr (std::is_same_v<T, float> && kPlain) {
      launchPlainBackward<kDocuments>(a, cudaStream(c));
    } else if constexpr (!std::is_same_v<T, float> && !kPlain) {
      launchBackward16<T, kDocuments>(a, cudaStream(c));
    }
  });
}

}  // namespace

void register_attention_cuda(KernelRegistry& registry) {
  registry.add("attention/plain", attention<true, false>);
  registry.add("attention/plain_documents", attention<true, true>);
  registry.add("attention/sm80", attention<false, false>);
  registry.add("attention/sm80_documents", attention<false, true>);
  registry.add("attention_backward/plain", attentionBackward<true, false>);
  registry.add("attention_backward/plain_documents", attentionBackward<true, true>);
  registry.add("attention_backward/sm80", attentionBackward<false, false>);
  registry.add("attention_backward/sm80_documents", attentionBackward<false, true>);
}

}  // namespace tesserae
