#include "ops/cuda_support.cuh"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;

template <class From, class To>
__global__ void __launch_bounds__(kThreads) convertKernel(const From* x, To* y, int64_t elements) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < elements) y[i] = fromFloat<To>(static_cast<float>(x[i]));
}

void convert(const KernelContext& c) {
  const TensorView &x = c.inputs[0], &y = c.outputs[0];
  const unsigned blocks = static_cast<unsigned>(divideUp(y.elements, kThreads));
  dispatchActivationType(y.dtype, "convert", [&](auto tag) {
    using To = typename decltype(tag)::Type;
    To* to = static_cast<To*>(y.data);
    if (x.dtype == DType::U8) {
      convertKernel<<<blocks, kThreads, 0, cudaStream(c)>>>(static_cast<const uint8_t*>(x.data), to,
                                                            y.elements);
    } else {
      requireTypes("convert", DType::F32, {&x});
      convertKernel<<<blocks, kThreads, 0, cudaStream(c)>>>(x.f32(), to, y.elements);
    }
  });
  cudaCheckLaunch("convert");
}

}  // namespace

void register_convert_cuda(KernelRegistry& registry) { registry.add("convert", convert); }

}  // namespace tesserae
