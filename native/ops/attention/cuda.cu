#include <cmath>

#include "ops/attention/launch.cuh"
#include "ops/attributes.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kGreatestHead = 256;

// Both directions have these inputs in the same order, after those that differ.
enum { kLengths, kCounters, kStarts, kQ, kKv, kKeyBegin, kKeyEnd };

void* elementOf(const TensorView& x, int64_t index) {
  return static_cast<char*>(x.data) + index * dtypeSize(x.dtype);
}

// qkv, or q and kv of `inputs`.
StridedAttentionArguments argumentsOf(const KernelContext& c, const TensorView& qkv, const TensorView* inputs,
                                      const char* operation) {
  const bool isPacked = qkv.data != nullptr;
  const TensorView &q = isPacked ? qkv : inputs[kQ], &kv = isPacked ? qkv : inputs[kKv];
  requireTypes(operation, q.dtype, {&kv});
  const Extent &heads = q.factors[isPacked ? 3 : 2], &head = q.factors[isPacked ? 4 : 3];
  StridedAttentionArguments a{};
  a.lengths = inputs[kLengths].i32();
  a.starts = inputs[kStarts].i32();
  a.keyBegin = inputs[kKeyBegin].i32();
  a.keyEnd = inputs[kKeyEnd].i32();
  a.counters = inputs[kCounters].as<Counters>();
  a.site = c.site;
  a.batch = static_cast<int32_t>(q.factors[0].physical);
  a.time = static_cast<int32_t>(q.factors[1].physical);
  a.keyTime = static_cast<int32_t>(kv.factors[1].physical);
  a.heads = static_cast<int32_t>(heads.physical);
  a.group = static_cast<int32_t>(heads.physical / kv.factors[3].physical);
  a.head = static_cast<int32_t>(head.physical);
  a.queryStride = static_cast<int32_t>(q.columns);
  a.keyStride = static_cast<int32_t>(kv.columns);
  a.isPacked = isPacked;
  const int64_t keys = isPacked ? q.columns / 3 : 0, values = isPacked ? 2 * keys : kv.columns / 2;
  a.qkv = qkv.data;
  a.q = q.data;
  a.k = elementOf(kv, keys);
  a.v = elementOf(kv, values);
  a.scale =
      static_cast<float>(c.attributes->number("scale", 1.0 / std::sqrt(static_cast<double>(head.logical))));
  a.dropout = static_cast<float>(c.attributes->number("dropout", 0));
  a.causal = c.attributes->flag("causal");
  requireVectors(operation, a.head);
  if (a.head > kGreatestHead) {
    fail(ErrorCode::Config, "%s: heads of %d are not supported on CUDA; use at most %d", operation, a.head,
         kGreatestHead);
  }
  return a;
}

// delta (B, H, T) = rowsum(dy ∘ y). Eight threads compute one head of a position.
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

// The kernels that attention.cc chooses from: any type and mask; packed rows; packed rows with documents;
// queries apart from keys. All but the first need 16-bit types and use tensor cores.
enum class Use { Plain, Packed, Documents, Strided };

// qkv (B, T, 3, H, D→Dp), or q (B, Tq, H, D→Dp) and kv (B, Tk, 2, G, D→Dp) -> y (B, Tq, H, D→Dp), lse (B, H,
// Tq)
template <Use kUse>
void attention(const KernelContext& c) {
  const char* const name = "attention";
  const TensorView &qkv = c.inputs[0], &y = c.outputs[0];
  StridedAttentionArguments a = argumentsOf(c, qkv, c.inputs + 1, name);
  requireTypes(name, y.dtype, {&qkv, &c.inputs[1 + kQ]});
  a.y = y.data;
  a.lse = c.outputs[1].f32();
  dispatchActivationType(y.dtype, name, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    if constexpr (kUse == Use::Plain) {
      launchPlainForward<T>(a, cudaStream(c));
    } else if constexpr (!std::is_same_v<T, float>) {
      if constexpr (kUse == Use::Strided) return launchStridedForward16<T>(a, cudaStream(c));
      launchForward16<T, kUse == Use::Documents>(a, cudaStream(c));
    }
  });
}

template <Use kUse>
void attentionBackward(const KernelContext& c) {
  const char* const name = "attention_backward";
  const TensorView &dy = c.inputs[0], &qkv = c.inputs[1], &y = c.inputs[2];
  const TensorView &dqkv = c.outputs[0], &dq = c.outputs[1], &dkv = c.outputs[2];
  StridedAttentionArguments a = argumentsOf(c, qkv, c.inputs + 4, name);
  requireTypes(name, y.dtype, {&dy, &qkv, &c.inputs[4 + kQ], &dqkv, &dq, &dkv});
  a.dy = dy.data;
  a.lse = c.inputs[3].f32();
  a.delta = static_cast<float*>(c.workspace);
  a.dqkv = dqkv.data;
  a.dq = a.isPacked ? dqkv.data : dq.data;
  a.dk = a.isPacked ? elementOf(dqkv, dqkv.columns / 3) : dkv.data;
  a.dv = a.isPacked ? elementOf(dqkv, dqkv.columns / 3 * 2) : elementOf(dkv, dkv.columns / 2);
  const int64_t count = static_cast<int64_t>(a.batch) * a.time * a.heads;
  dispatchActivationType(y.dtype, name, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    sumProducts<<<static_cast<unsigned>(divideUp(count * 8, 256)), 256, 0, cudaStream(c)>>>(
        static_cast<const T*>(dy.data), static_cast<const T*>(y.data), a.delta, count, a.heads, a.head,
        a.time);
    cudaCheckLaunch(name);
    if constexpr (kUse == Use::Plain) {
      launchPlainBackward<T>(a, cudaStream(c));
    } else if constexpr (!std::is_same_v<T, float>) {
      if constexpr (kUse == Use::Strided) return launchStridedBackward16<T>(a, cudaStream(c));
      launchBackward16<T, kUse == Use::Documents>(a, cudaStream(c));
    }
  });
}

}  // namespace

void register_attention_cuda(KernelRegistry& registry) {
  registry.add("attention/plain", attention<Use::Plain>);
  registry.add("attention/sm80", attention<Use::Packed>);
  registry.add("attention/sm80_documents", attention<Use::Documents>);
  registry.add("attention/sm80_strided", attention<Use::Strided>);
  registry.add("attention_backward/plain", attentionBackward<Use::Plain>);
  registry.add("attention_backward/sm80", attentionBackward<Use::Packed>);
  registry.add("attention_backward/sm80_documents", attentionBackward<Use::Documents>);
  registry.add("attention_backward/sm80_strided", attentionBackward<Use::Strided>);
}

}  // namespace tesserae
