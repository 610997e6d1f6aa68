#include "ops/cuda_support.cuh"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 128;

__global__ void __launch_bounds__(kThreads)
    tokenTypesKernel(const int32_t* tokens, const int32_t* start, const int32_t* of, const int32_t* at,
                     int32_t* types, int64_t rows, int64_t ids, int64_t positions) {
  const int64_t b = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (b >= rows) return;
  const int32_t placed = start[b] < positions ? at[b * positions + start[b]] : -1;
  const bool known = tokens[b] >= 0 && tokens[b] < ids;
  types[b] = placed >= 0 ? placed : known ? of[tokens[b]] : 0;
}

void tokenTypes(const KernelContext& c) {
  const TensorView& at = c.inputs[3];  // (B, positions)
  tokenTypesKernel<<<static_cast<unsigned>(divideUp(at.rows, kThreads)), kThreads, 0, cudaStream(c)>>>(
      c.inputs[0].i32(), c.inputs[1].i32(), c.inputs[2].i32(), at.i32(), c.outputs[0].i32(), at.rows,
      c.inputs[2].logicalColumns, at.columns);
  cudaCheckLaunch("token_types");
}

}  // namespace

void register_token_types_cuda(KernelRegistry& registry) { registry.add("token_types", tokenTypes); }

}  // namespace tesserae
