// Tensor-core products of sm_80: mma.sync m16n8k16 with fp32 accumulation, ldmatrix and cp.async (PTX ISA,
// sections 9.7.14.5 and 9.7.9.25). In a warp, g = lane / 4 and t = lane % 4; an accumulator c[4] of a 16 × 8
// tile holds (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace tesserae {

__device__ __forceinline__ uint32_t sharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// 16 bytes from global to shared memory; zeros where `inside` is false, then `from` is not read.
__device__ __forceinline__ void copyAsync16(void* to, const void* from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(sharedAddress(to)), "l"(from),
               "r"(inside ? 16 : 0)
               : "memory");
}

__device__ __forceinline__ void copyAsync4(void* to, const void* from, bool inside) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;\n" ::"r"(sharedAddress(to)), "l"(from),
               "r"(inside ? 4 : 0)
               : "memory");
}

__device__ __forceinline__ void commitCopies() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }

// Waits until at most kPending of this thread's groups are pending.
template <int kPending>
__device__ __forceinline__ void waitCopies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
}

// Four 8 × 8 matrices; lane i gives the address of row i % 8 of matrix i / 8.
__device__ __forceinline__ void loadMatrix4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(sharedAddress(row))
               : "memory");
}

__device__ __forceinline__ void loadMatrix4Transposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(sharedAddress(row))
               : "memory");
}

// c (16, 8) += a (16, 16) b (16, 8)
template <class T>
__device__ __forceinline__ void multiplyAccumulate(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                                   uint32_t b1);
template <>
__device__ __forceinline__ void multiplyAccumulate<__nv_bfloat16>(float (&c)[4], const uint32_t (&a)[4],
                                                                  uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
__device__ __forceinline__ void multiplyAccumulate<__half>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                                           uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Two floats as 16-bit numbers, the first one in the low half.
template <class T>
__device__ __forceinline__ uint32_t packPair(float low, float high);
template <>
__device__ __forceinline__ uint32_t packPair<__nv_bfloat16>(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
template <>
__device__ __forceinline__ uint32_t packPair<__half>(float low, float high) {
  const __half2 pair = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// The a operand at (row, k) of a tile that is stored (rows, k).
template <class T>
__device__ __forceinline__ void loadFragmentA(uint32_t (&a)[4], const T* tile, int stride, int row, int k) {
  const int lane = threadIdx.x % 32;
  loadMatrix4(a, tile + (row + lane % 16) * stride + k + lane / 16 * 8);
}

// The a operand at (row, k) of a tile that is stored (k, rows).
template <class T>
__device__ __forceinline__ void loadFragmentAColumns(uint32_t (&a)[4], const T* tile, int stride, int row,
                                                     int k) {
  const int lane = threadIdx.x % 32;
  loadMatrix4Transposed(a, tile + (k + lane % 8 + lane / 16 * 8) * stride + row + lane / 8 % 2 * 8);
}

// The b operands of columns n..n + 7 (b[0], b[1]) and n + 8..n + 15 (b[2], b[3]) at k, of a tile that is
// stored (columns, k).
template <class T>
__device__ __forceinline__ void loadFragmentsB(uint32_t (&b)[4], const T* tile, int stride, int n, int k) {
  const int lane = threadIdx.x % 32;
  loadMatrix4(b, tile + (n + lane % 8 + lane / 16 * 8) * stride + k + lane / 8 % 2 * 8);
}

// The same of a tile that is stored (k, columns).
template <class T>
__device__ __forceinline__ void loadFragmentsBRows(uint32_t (&b)[4], const T* tile, int stride, int n,
                                                   int k) {
  const int lane = threadIdx.x % 32;
  loadMatrix4Transposed(b, tile + (k + lane % 16) * stride + n + lane / 16 * 8);
}

}  // namespace tesserae
