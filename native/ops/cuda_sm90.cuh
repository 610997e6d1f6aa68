// Hopper's own instructions (PTX ISA, sections 9.7.9.27, 9.7.13 and 9.7.15): barriers that count bytes,
// copies of tiles by the tensor memory accelerator (TMA), and wgmma, the product of a warpgroup. For
// sm90_*.cu files only.
#pragma once

#include <cuda.h>  // CUtensorMap

#include "ops/cuda_mma.cuh"

namespace tesserae {

inline constexpr int kWarpgroup = 128;  // threads: four warps, the first of them divisible by four

// --- Barriers in shared memory ---

// A phase ends once `arrivals` threads have arrived and all expected bytes have come.
__device__ __forceinline__ void initBarrier(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(sharedAddress(barrier)), "r"(arrivals)
               : "memory");
}

// Makes new barriers known to TMA and to the cluster; before the sync after which they are used.
__device__ __forceinline__ void fenceBarriers() {
  asm volatile("fence.mbarrier_init.release.cluster;\nfence.proxy.async.shared::cta;\n" ::: "memory");
}

__device__ __forceinline__ void arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];\n" ::"r"(sharedAddress(barrier)) : "memory");
}

// At the same barrier of a block of the cluster.
__device__ __forceinline__ void arriveAt(uint64_t* barrier, uint32_t block) {
  asm volatile(
      "{\n.reg .b32 there;\n"
      "mapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [there];\n}\n" ::"r"(sharedAddress(barrier)),
      "r"(block)
      : "memory");
}

// Arrives, and makes the phase also wait for `bytes`.
__device__ __forceinline__ void arriveExpecting(uint64_t* barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;\n" ::"r"(sharedAddress(barrier)),
               "r"(bytes)
               : "memory");
}

// Waits for the end of the last phase of this parity; phases have the parities 0, 1, 0, … On a new barrier
// the parity 1 does not wait.
__device__ __forceinline__ void waitPhase(uint64_t* barrier, uint32_t parity) {
  uint32_t done;
  do {
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}\n"
        : "=r"(done)
        : "r"(sharedAddress(barrier)), "r"(parity)
        : "memory");
  } while (!done);
}

// Of all threads of all blocks of a cluster.
__device__ __forceinline__ void syncCluster() {
  asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n" ::: "memory");
}

__device__ __forceinline__ uint32_t blockOfCluster() {
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;\n" : "=r"(rank));
  return rank;
}

// --- Tiles ---

// The box of the map at (x, y), y the row, to shared memory. What lies beyond the matrix becomes zeros; all
// bytes count.
__device__ __forceinline__ void loadBox(void* to, const CUtensorMap& map, int x, int y, uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, "
      "%3}], [%4];\n" ::"r"(sharedAddress(to)),
      "l"(&map), "r"(x), "r"(y), "r"(sharedAddress(barrier))
      : "memory");
}

// Like that, but into each block of the cluster whose bit is set, at the same place and for the same barrier.
__device__ __forceinline__ void loadBoxTo(uint16_t blocks, void* to, const CUtensorMap& map, int x, int y,
                                          uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%2, %3}], [%4], %5;\n" ::"r"(sharedAddress(to)),
      "l"(&map), "r"(x), "r"(y), "r"(sharedAddress(barrier)), "h"(blocks)
      : "memory");
}

// The other way; what lies beyond the matrix is left out. Belongs to the thread's next group of stores.
__device__ __forceinline__ void storeBox(const CUtensorMap& map, int x, int y, const void* from) {
  asm volatile(
      "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];\n" ::"l"(&map),
      "r"(x), "r"(y), "r"(sharedAddress(from))
      : "memory");
}

// Adds fp32 numbers to those of the matrix.
__device__ __forceinline__ void addBox(const CUtensorMap& map, int x, int y, const void* from) {
  asm volatile(
      "cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group [%0, {%1, %2}], [%3];\n" ::"l"(
          &map),
      "r"(x), "r"(y), "r"(sharedAddress(from))
      : "memory");
}

__device__ __forceinline__ void commitStores() { asm volatile("cp.async.bulk.commit_group;\n" ::: "memory"); }

// Waits until all but the thread's last kPending groups of stores have read shared memory.
template <int kPending>
__device__ __forceinline__ void waitStoresRead() {
  asm volatile("cp.async.bulk.wait_group.read %0;\n" ::"n"(kPending) : "memory");
}

// Waits until all but the thread's last kPending groups of stores are done.
template <int kPending>
__device__ __forceinline__ void waitStores() {
  asm volatile("cp.async.bulk.wait_group %0;\n" ::"n"(kPending) : "memory");
}

// A thread whose stores by TMA are done sets a count in global memory; another one that waits for it may
// store to the same place.
__device__ __forceinline__ void setArrived(int32_t* count, int32_t value) {
  asm volatile("fence.proxy.async.global;\nst.release.gpu.global.s32 [%0], %1;\n" ::"l"(count), "r"(value)
               : "memory");
}
__device__ __forceinline__ void waitArrived(const int32_t* count, int32_t value) {
  int32_t seen;
  do {
    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];\n" : "=r"(seen) : "l"(count) : "memory");
  } while (seen != value);
  asm volatile("fence.proxy.async.global;\n" ::: "memory");
}

// Lets TMA and wgmma see what this thread wrote to shared memory. Before the barrier after which they read
// it.
__device__ __forceinline__ void fenceShared() {
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}

// --- Products ---

// Registers from a warpgroup that needs few to those that need many; by all its warps.
template <int kRegisters>
__device__ __forceinline__ void giveRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void takeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
}

// Before the first product of a group, after other instructions touched its accumulators.
__device__ __forceinline__ void fenceProducts() { asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory"); }

__device__ __forceinline__ void commitProducts() {
  asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}

// Waits until at most kPending groups are under way.
template <int kPending>
__device__ __forceinline__ void waitProducts() {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(kPending) : "memory");
}

// Where an operand of wgmma is in shared memory: tiles of 128-byte rows (64 elements), as TMA writes them
// with a 128-byte swizzle, aligned to 1024 bytes. Steps in bytes.
//   k contiguous: a row of the tile is a row of the operand; 8 rows take 1024 bytes.
//   rows contiguous: a row of the tile is 64 rows of the operand at one k; the next 64 rows are next64Rows
//   bytes on.
__device__ __forceinline__ uint64_t operandAt(const void* tile, int next64Rows) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62, kNext8 = uint64_t{1024 >> 4} << 32;
  return (sharedAddress(tile) & 0x3ffff) >> 4 | static_cast<uint64_t>(next64Rows >> 4) << 16 | kNext8 |
         kSwizzle128;
}

// What to add to an operand for the next bytes of it.
__device__ __forceinline__ constexpr uint64_t operandStep(int bytes) {
  return static_cast<uint64_t>(bytes >> 4);
}

// d (64, 192) += a (64, 16) b (192, 16)ᵀ. Thread i of the warpgroup has rows i / 32 · 16 + i % 32 / 4 (+
// 8 in d[4j + 2], d[4j + 3]) and columns 8j + i % 4 · 2 (+ 1). kRowsA, kRowsB: rows are contiguous in the
// operand, not k.
template <class T, bool kRowsA, bool kRowsB>
__device__ __forceinline__ void multiply64x192(float (&d)[96], uint64_t a, uint64_t b) {
#define TESSERAE_R4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define TESSERAE_R16(i) TESSERAE_R4(i), TESSERAE_R4(i + 4), TESSERAE_R4(i + 8), TESSERAE_R4(i + 12)
#define TESSERAE_WGMMA(TYPES)                                                                    \
  asm volatile(                                                                                  \
      "{\n.reg .pred p;\nsetp.eq.b32 p, 0, 0;\n"                                                 \
      "wgmma.mma_async.sync.aligned.m64n192k16.f32." TYPES                                       \
      " "                                                                                        \
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                  \
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "         \
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "         \
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "         \
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "         \
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95}, "        \
      "%96, %97, p, 1, 1, %98, %99;\n}\n"                                                        \
      : TESSERAE_R16(0), TESSERAE_R16(16), TESSERAE_R16(32), TESSERAE_R16(48), TESSERAE_R16(64), \
        TESSERAE_R16(80)                                                                         \
      : "l"(a), "l"(b), "n"(kRowsA ? 1 : 0), "n"(kRowsB ? 1 : 0))
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    TESSERAE_WGMMA("bf16.bf16");
  } else {
    TESSERAE_WGMMA("f16.f16");
  }
#undef TESSERAE_WGMMA
#undef TESSERAE_R16
#undef TESSERAE_R4
}

// Four 8 × 8 matrices to shared memory; lane i gives the address of row i % 8 of matrix i / 8.
__device__ __forceinline__ void storeMatrix4(void* row, const uint32_t (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};\n" ::"r"(sharedAddress(row)),
               "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}

// The two 16-bit numbers of a register, the low half first.
template <class T>
__device__ __forceinline__ float2 unpackPair(uint32_t pair);
template <>
__device__ __forceinline__ float2 unpackPair<__nv_bfloat16>(uint32_t pair) {
  return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)};
}
template <>
__device__ __forceinline__ float2 unpackPair<__half>(uint32_t pair) {
  return __half22float2(*reinterpret_cast<const __half2*>(&pair));
}

}  // namespace tesserae
