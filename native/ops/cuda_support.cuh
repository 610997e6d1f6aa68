// What the kernels of cuda.cu files share. Reductions add in an order that depends on the launch's shape
// alone: results repeat bit for bit on a chip.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <initializer_list>

#include "ops/kernel.h"
#include "runtime/error.h"

namespace tesserae {

inline cudaStream_t cudaStream(const KernelContext& c) { return static_cast<cudaStream_t>(c.stream); }

// Call after each launch: throws if the driver refused it; does not wait for the kernel.
inline void cudaCheckLaunch(const char* operation) {
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess)
    fail(ErrorCode::Device, "%s: kernel launch failed: %s", operation, cudaGetErrorString(status));
}

// Blocks of a kernel, with `sharedBytes` of dynamic shared memory, that the whole chip runs at a time: the
// grid of a kernel whose blocks loop over the work.
template <class Function>
int residentBlocks(Function kernel, int threads, const char* operation, size_t sharedBytes = 0) {
  int device = 0, processors = 0, blocks = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device) != cudaSuccess ||
      cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, sharedBytes) != cudaSuccess ||
      processors * blocks < 1) {
    fail(ErrorCode::Device, "%s: querying the occupancy failed: %s", operation,
         cudaGetErrorString(cudaGetLastError()));
  }
  return processors * blocks;
}

template <class A, class B>
__host__ __device__ constexpr int64_t divideUp(A a, B b) {
  return (static_cast<int64_t>(a) + static_cast<int64_t>(b) - 1) / static_cast<int64_t>(b);
}

// --- Types ---

__device__ __forceinline__ float toFloat(float x) { return x; }
__device__ __forceinline__ float toFloat(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float toFloat(__half x) { return __half2float(x); }

template <class T>
__device__ __forceinline__ T fromFloat(float x);
template <>
__device__ __forceinline__ float fromFloat<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ __nv_bfloat16 fromFloat<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__device__ __forceinline__ __half fromFloat<__half>(float x) {
  return __float2half_rn(x);
}

template <class T>
struct TypeTag {
  using Type = T;
};

// Calls f(TypeTag<T>{}) with the C++ type of an activation, a weight or a 16-bit copy.
template <class F>
void dispatchActivationType(DType type, const char* operation, F&& f) {
  switch (type) {
    case DType::F32:
      return f(TypeTag<float>{});
    case DType::BF16:
      return f(TypeTag<__nv_bfloat16>{});
    case DType::F16:
      return f(TypeTag<__half>{});
    default:
      fail(ErrorCode::Internal, "%s: no CUDA kernel for %s", operation, dtypeName(type));
  }
}

// Checks that tensors have the type as which a kernel reads them. Absent ones pass.
inline void requireTypes(const char* operation, DType type, std::initializer_list<const TensorView*> views) {
  for (const TensorView* view : views) {
    if (view->data && view->dtype != type) {
      fail(ErrorCode::Internal, "%s: a tensor is %s instead of %s", operation, dtypeName(view->dtype),
           dtypeName(type));
    }
  }
}

// --- Functions ---

// 2^x by the special function unit, which expf and division go around: relative error 2^-22; results below
// 2^-126 are zero. Infinities and NaN come out as they should.
__device__ __forceinline__ float exponential2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// e^x: the rounding of x log2(e) adds |x| 2^-24 to the relative error.
__device__ __forceinline__ float exponential(float x) { return exponential2(x * 1.44269504f); }

// 1 / x by the same unit: within one unit in the last place; zero where the result would be below 2^-126.
__device__ __forceinline__ float reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// x between the bounds; NaN stays NaN.
__device__ __forceinline__ float clampKeepingNaN(float x, float low, float high) {
  float y;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(x), "f"(low));
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(y), "f"(high));
  return y;
}

// --- Vectors ---

// Elements that a thread loads at once whatever their type: 16 bytes of 16-bit ones, twice 16 bytes of fp32.
inline constexpr int kVector = 8;

// Rows are read in vectors: their widths must be padded to multiples of 8, as the default policy does.
inline void requireVectors(const char* operation, int64_t columns) {
  if (columns % kVector) {
    fail(ErrorCode::Config,
         "%s: a width of %lld is not a multiple of 8, which CUDA kernels need; give the axis the role width "
         "or "
         "vocabulary, which are padded unless options.padding says otherwise, or choose a multiple of 8",
         operation, static_cast<long long>(columns));
  }
}

// Eight elements as they are in memory: half the registers of their floats where they are 16-bit.
template <class T>
struct alignas(16) Packed {
  T v[kVector];
};

template <class T>
__device__ __forceinline__ Packed<T> loadPacked(const T* from) {
  Packed<T> packed;
  const uint4* source = reinterpret_cast<const uint4*>(from);
  uint4* words = reinterpret_cast<uint4*>(&packed);
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(packed) / sizeof(uint4)); ++i) words[i] = source[i];
  return packed;
}

template <class T>
__device__ __forceinline__ void storePacked(T* to, const Packed<T>& packed) {
  const uint4* words = reinterpret_cast<const uint4*>(&packed);
  uint4* target = reinterpret_cast<uint4*>(to);
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(packed) / sizeof(uint4)); ++i) target[i] = words[i];
}

template <class T>
__device__ __forceinline__ void loadVector(const T* from, float (&to)[kVector]) {
  const Packed<T> packed = loadPacked(from);
#pragma unroll
  for (int i = 0; i < kVector; ++i) to[i] = toFloat(packed.v[i]);
}

template <class T>
__device__ __forceinline__ void storeVector(T* to, const float (&from)[kVector]) {
  Packed<T> packed;
#pragma unroll
  for (int i = 0; i < kVector; ++i) packed.v[i] = fromFloat<T>(from[i]);
  storePacked(to, packed);
}

// --- Reductions ---

// The lanes of the group of kLanes neighbours that a thread is in. Other groups may have gone.
template <int kLanes>
__device__ __forceinline__ unsigned groupMask() {
  if constexpr (kLanes == 32) return 0xffffffffu;
  return ((1u << kLanes % 32) - 1) << (threadIdx.x % 32 / kLanes * kLanes);
}

// Over each group of kLanes neighbouring lanes; every lane gets the result. The exchange is symmetric, so all
// of them hold the same bits.
template <int kLanes = 32, class T>
__device__ __forceinline__ T warpSum(T x) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(groupMask<kLanes>(), x, offset);
  return x;
}

template <int kLanes = 32, class T>
__device__ __forceinline__ T warpMax(T x) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) {
    const T other = __shfl_xor_sync(groupMask<kLanes>(), x, offset);
    x = other > x ? other : x;
  }
  return x;
}

// Over the kThreads threads of a block, or as many neighbouring lanes (all must call); every thread gets the
// result. `shared` holds kThreads / 32 elements and may be used again at once.
template <int kThreads, class T>
__device__ __forceinline__ T blockSum(T x, T* shared) {
  x = warpSum<(kThreads < 32 ? kThreads : 32)>(x);
  if constexpr (kThreads > 32) {
    __syncthreads();  // readers of an earlier reduction are done
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = shared[0];
#pragma unroll
    for (int i = 1; i < kThreads / 32; ++i) x += shared[i];
  }
  return x;
}

template <int kThreads, class T>
__device__ __forceinline__ T blockMax(T x, T* shared) {
  x = warpMax<(kThreads < 32 ? kThreads : 32)>(x);
  if constexpr (kThreads > 32) {
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = shared[0];
#pragma unroll
    for (int i = 1; i < kThreads / 32; ++i) x = shared[i] > x ? shared[i] : x;
  }
  return x;
}

}  // namespace tesserae
