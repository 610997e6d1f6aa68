// The piece Slope: sums are multiplied by f'(x), x from aux. In bf16 the warps of the loading warpgroup that
// would have nothing to do compute the slopes ahead, while the tile is multiplied: after it there are hardly
// any registers left.
#pragma once

#include "ops/activation/functions.cuh"
#include "ops/cuda_sm90.cuh"

namespace tesserae {

// Slopes that are computed ahead are kept in fp16: they are between -0.2 and 1.2, where it has three more
// bits than bf16.
template <class T, ActivationFunction F>
inline constexpr bool kSlopesAhead = std::is_same_v<T, __nv_bfloat16>&& F != ActivationFunction::Relu;

// Replaces 8 numbers in bf16 by their slopes in fp16.
template <ActivationFunction F>
__device__ __forceinline__ void replaceBySlopes(uint4* numbers) {
  uint4 n = *numbers;
  const auto replace = [](uint32_t& pair) {
    const float2 x = unpackPair<__nv_bfloat16>(pair);
    pair = packPair<__half>(cudaActivationSlope<F>(x.x), cudaActivationSlope<F>(x.y));
  };
  replace(n.x);
  replace(n.y);
  replace(n.z);
  replace(n.w);
  *numbers = n;
}

// Multiplies 8 sums of a block by the slopes of aux.
template <class T, ActivationFunction F, bool kAhead>
__device__ __forceinline__ void multiplyBySlopes(float* sums, const uint32_t (&aux)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float2 slopes;
    if constexpr (kAhead) {
      slopes = unpackPair<__half>(aux[i]);
    } else {
      const float2 x = unpackPair<T>(aux[i]);
      slopes = {cudaActivationSlope<F>(x.x), cudaActivationSlope<F>(x.y)};
    }
    sums[2 * i] *= slopes.x;
    sums[2 * i + 1] *= slopes.y;
  }
}

}  // namespace tesserae
