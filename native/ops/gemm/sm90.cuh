// 16-bit products on Hopper. A block has a warpgroup that loads by TMA and two that multiply by wgmma, a tile
// of 128 × 192 each in turns: one stores its tile while the other has the tensor cores. Two blocks are a
// cluster: their tiles are one above the other, each loads half of a stage of B for both, and so the L2
// cache is read a third less. Clusters stay on their multiprocessors and take every n-th pair of tiles. A row
// of C depends on its row of A alone, bit for bit.
#pragma once

#include "ops/activation/functions.cuh"
#include "ops/cuda_sm90.cuh"
#include "ops/gemm/pieces/column_sums.cuh"
#include "ops/gemm/pieces/exponentials.cuh"
#include "ops/gemm/pieces/row_scale.cuh"
#include "ops/gemm/pieces/tile_bias.cuh"
#include "ops/gemm/sm90.h"

namespace tesserae {

namespace {

constexpr int kCluster = 2;
constexpr int kTileK = 64, kStages = 4;
constexpr int kThreads = 3 * kWarpgroup;
constexpr int kBytesA = kTileM * kTileK * 2, kBytesB = kTileN * kTileK * 2, kStageBytes = kBytesA + kBytesB;
// A warp has 2 × 16 rows of a tile, 64 rows apart. It stores them in parts of 64 columns: 16 rows of 128
// bytes, as TMA swizzles them, twice.
constexpr int kParts = kTileN / 64, kSliceRows = 16, kSliceBytes = kSliceRows * 128,
              kPartBytes = 2 * kSliceBytes;
constexpr int kBuffers = 2;  // parts of a warp that are on their way at a time
static_assert(kTileN == kExponentialColumns);

// What happens to a tile between the tensor cores and memory. Plain has a bias or a row scale where they are
// given.
enum class Sm90Epilogue { Plain, Activation, Slope, Exponentials };

struct alignas(1024) Sm90Shared {
  char stages[kStages][kStageBytes];
  char staging[2 * kWarpgroup / 32][kBuffers][kPartBytes];  // of each multiplying warp
  uint64_t full[kStages], empty[kStages];
  uint64_t turn[2];                              // a warpgroup may use the tensor cores
  uint64_t loaded[2 * kWarpgroup / 32][kParts];  // a part of a warp's aux is in staging
};

struct Sm90Arguments {
  CUtensorMap a, b, c, aux;
  const float* bias;      // (n) or null
  bool keepInput;         // stores what the activation reads in aux
  float* columnSums;      // (columnSumRows(m), n) or null
  const float* rowScale;  // (m) or null
  GemmExponentials exponentials;
  int32_t m, n, k;
};

struct TilePlace {
  int row, column;
};

// The pairs of tiles that a cluster takes: every n-th of them.
struct TilePairs {
  int rows, columns;  // pairs one above the other, tiles side by side

  __device__ explicit TilePairs(const Sm90Arguments& g)
      : rows((g.m + kCluster * kTileM - 1) / (kCluster * kTileM)), columns((g.n + kTileN - 1) / kTileN) {}
  __device__ int first() const { return static_cast<int>(blockIdx.x) / kCluster; }
  __device__ int step() const { return static_cast<int>(gridDim.x) / kCluster; }
  __device__ int count() const { return rows * columns; }
  // Of this block's tile. Rows of pairs are walked in groups that share B in the L2 cache.
  __device__ TilePlace operator[](int pair) const {
    constexpr int kGroup = 8;
    const int group = pair / (kGroup * columns), inside = pair % (kGroup * columns);
    const int height = min(rows - group * kGroup, kGroup);
    const int row = (group * kGroup + inside % height) * kCluster + static_cast<int>(blockOfCluster());
    return {row * kTileM, inside / height * kTileN};
  }
};

// One thread keeps the ring of stages filled.
template <bool kRowsB>
__device__ __forceinline__ void loadTiles(const Sm90Arguments& g, Sm90Shared& shared) {
  constexpr uint16_t kAll = (1 << kCluster) - 1;
  const TilePairs pairs(g);
  const int steps = (g.k + kTileK - 1) / kTileK, block = static_cast<int>(blockOfCluster());
  int stage = 0;
  uint32_t parity = 1;  // of a stage that was emptied; new ones are empty
  for (int pair = pairs.first(); pair < pairs.count(); pair += pairs.step()) {
    const TilePlace at = pairs[pair];
    for (int step = 0; step < steps; ++step) {
      waitPhase(&shared.empty[stage], parity);
      uint64_t* const barrier = &shared.full[stage];
      char *const a = shared.stages[stage], *const b = a + kBytesA;
      arriveExpecting(barrier, kStageBytes);
      loadBox(a, g.a, step * kTileK, at.row, barrier);
      if constexpr (kRowsB) {
        const int first = block * (kTileK / kCluster);  // of k
#pragma unroll
        for (int part = 0; part < kParts; ++part)
          loadBoxTo(kAll, b + (part * kTileK + first) * 128, g.b, at.column + part * 64,
                    step * kTileK + first, barrier);
      } else {
        const int first = block * (kTileN / kCluster);
        loadBoxTo(kAll, b + first * 128, g.b, step * kTileK, at.column + first, barrier);
      }
      if (++stage == kStages) {
        stage = 0;
        parity ^= 1;
      }
    }
  }
}

// Both blocks of a cluster write to a stage, so both must know that it is empty.
__device__ __forceinline__ void releaseStage(uint64_t* empty) {
  if (threadIdx.x % 32 < kCluster) arriveAt(empty, threadIdx.x % 32);
}

// sums += a tile of op(A) op(B). `done`: steps of this block before the tile. The other warpgroup may have
// the tensor cores (`next`) before the last products are done.
template <class T, bool kRowsB>
__device__ __forceinline__ void multiplyTile(TileSums& sums, Sm90Shared& shared, int64_t done, int steps,
                                             uint64_t* next) {
  int stage = static_cast<int>(done % kStages), before = 0;
  uint32_t parity = done / kStages & 1;
  for (int step = 0; step < steps; ++step) {
    waitPhase(&shared.full[stage], parity);
    const uint64_t a = operandAt(shared.stages[stage], 16);
    const uint64_t b = operandAt(shared.stages[stage] + kBytesA, kRowsB ? kTileK * 128 : 16);
    fenceProducts();
#pragma unroll
    for (int k = 0; k < kTileK / 16; ++k) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        multiply64x192<T, false, kRowsB>(sums[half], a + operandStep(half * 64 * 128 + k * 32),
                                         b + operandStep(kRowsB ? k * 16 * 128 : k * 32));
      }
    }
    commitProducts();
    if (step > 0) {
      waitProducts<1>();
      releaseStage(&shared.empty[before]);
    }
    before = stage;
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
  arrive(next);
  waitProducts<0>();
  releaseStage(&shared.empty[before]);
}

// A warp's way from its sums to memory. Parts use the buffers in shared memory in turns.
template <class T>
struct WarpStore {
  char (*buffers)[kPartBytes];
  int row, column;  // of the warp's first row in C, and of the tile
  int n;
  int next = 0;  // buffer

  // Where this lane's row of the 16 × 16 block at column 16 j of a part is in a slice: the address that
  // ldmatrix and stmatrix want of it.
  __device__ __forceinline__ static int blockOffset(int j) {
    const int lane = threadIdx.x % 32, matrix = lane / 8;
    return (lane % 8 + matrix % 2 * 8) * 128 + ((2 * j + matrix / 2) ^ lane % 8) * 16;
  }

  // Stores one part. `piece` changes its sums first: 8 at a time, which a thread has of a block. kAux: the
  // buffer holds that part of aux, whose block goes to `piece` too.
  template <bool kAux, class Piece>
  __device__ __forceinline__ void part(const CUtensorMap& map, TileSums& sums, int part, Piece&& piece) {
    char* const buffer = buffers[next];
    if constexpr (!kAux) {
      if (threadIdx.x % 32 == 0) waitStoresRead<kBuffers - 1>();
      __syncwarp();
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      char* const slice = buffer + half * kSliceBytes;
      uint32_t blocks[4][4] = {};  // aux, then C
      if constexpr (kAux) {
        // All loads first: each would wait for the store before it.
#pragma unroll
        for (int j = 0; j < 4; ++j) loadMatrix4(blocks[j], slice + blockOffset(j));
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        float* const s = &sums[half][part * 32 + j * 8];
        piece(s, blocks[j]);
#pragma unroll
        for (int i = 0; i < 4; ++i) blocks[j][i] = packPair<T>(s[2 * i], s[2 * i + 1]);
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) storeMatrix4(slice + blockOffset(j), blocks[j]);
    }
    fenceShared();
    __syncwarp();
    if (threadIdx.x % 32 == 0) {
      if (column + part * 64 < n) {
        storeBox(map, column + part * 64, row, buffer);
        storeBox(map, column + part * 64, row + 64, buffer + kSliceBytes);
      }
      commitStores();
    }
    next = next + 1 == kBuffers ? 0 : next + 1;
  }
};

// op(A) is A, stored (m, k). kRowsB: op(B) is B, stored (k, n); otherwise B is stored (n, k).
template <class T, bool kRowsB, Sm90Epilogue kEpilogue, ActivationFunction F>
__global__ void __cluster_dims__(kCluster, 1, 1) __launch_bounds__(kThreads, 1)
    sm90Gemm(const __grid_constant__ Sm90Arguments g) {
  extern __shared__ __align__(1024) char bytes[];
  Sm90Shared& shared = *reinterpret_cast<Sm90Shared*>(bytes);
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      initBarrier(&shared.full[stage], 1);
      initBarrier(&shared.empty[stage], kCluster * kWarpgroup / 32);
    }
    for (uint64_t& barrier : shared.turn) initBarrier(&barrier, kWarpgroup);
    for (auto& parts : shared.loaded) {
      for (uint64_t& barrier : parts) initBarrier(&barrier, 1);
    }
    fenceBarriers();
  }
  __syncthreads();
  syncCluster();
  // The same in all lanes of a warp, which the compiler learns from the shuffle.
  const int warp = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / 32, 0), warpgroup = warp / 4;
  if (warpgroup == 2) {
    giveRegisters<24>();
    if (threadIdx.x == 2 * kWarpgroup) loadTiles<kRowsB>(g, shared);
  } else {
    takeRegisters<240>();
    const TilePairs pairs(g);
    const int steps = (g.k + kTileK - 1) / kTileK;
    const bool first = threadIdx.x % 32 == 0;
    WarpStore<T> store{shared.staging[warp], 0, 0, g.n};
    uint32_t odd = 0;  // of this warpgroup's tiles
    for (int pair = pairs.first() + warpgroup * pairs.step(), ordinal = warpgroup; pair < pairs.count();
         pair += 2 * pairs.step(), ordinal += 2, odd ^= 1) {
      const TilePlace at = pairs[pair];
      store.row = at.row + warp % 4 * kSliceRows;
      store.column = at.column;
      // Of aux, to the buffer of the part of C that is computed from it.
      const auto loadAux = [&](int part) {
        char* const to = shared.staging[warp][part % kBuffers];
        uint64_t* const barrier = &shared.loaded[warp][part];
        arriveExpecting(barrier, kPartBytes);
        loadBox(to, g.aux, at.column + part * 64, store.row, barrier);
        loadBox(to + kSliceBytes, g.aux, at.column + part * 64, store.row + 64, barrier);
      };
      if constexpr (kEpilogue == Sm90Epilogue::Slope) {
        store.next = 0;
        if (first) {
          waitStoresRead<0>();
          for (int part = 0; part < kBuffers; ++part) loadAux(part);
        }
      }
      // Zeros, so that the compiler may use the registers of sums that are stored for the others.
      TileSums sums = {};
      // The first warpgroup begins; then each waits for the other's tile before.
      waitPhase(&shared.turn[warpgroup], warpgroup == 0 ? odd ^ 1 : odd);
      multiplyTile<T, kRowsB>(sums, shared, static_cast<int64_t>(ordinal) * steps, steps,
                              &shared.turn[1 - warpgroup]);
      if constexpr (kEpilogue == Sm90Epilogue::Slope) {
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          waitPhase(&shared.loaded[warp][part], odd);
          store.template part<true>(g.c, sums, part, [](float* block, const uint32_t(&aux)[4]) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
              const float2 x = unpackPair<T>(aux[i]);
              block[2 * i] *= cudaActivationSlope<F>(x.x);
              block[2 * i + 1] *= cudaActivationSlope<F>(x.y);
            }
          });
          if (part + kBuffers < kParts && first) {
            waitStoresRead<0>();
            loadAux(part + kBuffers);
          }
          if (g.columnSums) storeColumnSums(sums, g.columnSums, at.row, at.column, part, g.n);
        }
      } else {
        const auto unchanged = [](float*, const uint32_t(&)[4]) {};
        if constexpr (kEpilogue == Sm90Epilogue::Exponentials) {
          exponentiate(sums, g.exponentials, at.row, at.column, g.m);
        } else if constexpr (kRowsB) {
          if (g.rowScale) scaleRows(sums, g.rowScale, at.row, g.m);
        } else {
          if (g.bias) addBias(sums, g.bias, at.column, g.n);
        }
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          if constexpr (kEpilogue != Sm90Epilogue::Activation) {
            store.template part<false>(g.c, sums, part, unchanged);
          } else {
            if (g.keepInput) store.template part<false>(g.aux, sums, part, unchanged);
            store.template part<false>(g.c, sums, part, [](float* block, const uint32_t(&)[4]) {
#pragma unroll
              for (int i = 0; i < 8; ++i) block[i] = cudaActivate<F>(block[i]);
            });
          }
        }
      }
    }
    // A block's shared memory must outlive the stores that read it.
    if (first) waitStoresRead<0>();
  }
  syncCluster();  // and what the other block sends to it
}

template <class T, bool kRowsB, Sm90Epilogue kEpilogue, ActivationFunction F>
void launchSm90(cudaStream_t stream, const GemmProblem& p, const GemmOperands& operands) {
  const Sm90Arguments g{tensorMap(operands.a, p.type, p.m, p.k, kTileM),
                        kRowsB ? tensorMap(operands.b, p.type, p.k, p.n, kTileK / kCluster)
                               : tensorMap(operands.b, p.type, p.n, p.k, kTileN / kCluster),
                        tensorMap(operands.c, p.type, p.m, p.n, kSliceRows),
                        operands.aux ? tensorMap(operands.aux, p.type, p.m, p.n, kSliceRows) : CUtensorMap{},
                        operands.bias,
                        operands.aux != nullptr,
                        operands.columnSums,
                        operands.rowScale,
                        operands.exponentials,
                        static_cast<int32_t>(p.m),
                        static_cast<int32_t>(p.n),
                        static_cast<int32_t>(p.k)};
  const auto kernel = sm90Gemm<T, kRowsB, kEpilogue, F>;
  constexpr int kBytes = sizeof(Sm90Shared);
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  static const int blocks = residentBlocks(kernel, kThreads, "gemm", kBytes) / kCluster * kCluster;
  const int64_t wanted = divideUp(p.m, kCluster * kTileM) * divideUp(p.n, kTileN) * kCluster;
  kernel<<<static_cast<unsigned>(wanted < blocks ? wanted : blocks), kThreads, kBytes, stream>>>(g);
  cudaCheckLaunch("gemm");
}

// The instances: for each function that sm90Takes lets through, `kEpilogue` with it, and a plain one for
// None.
template <class T, bool kRowsB, Sm90Epilogue kEpilogue>
void launchSm90With(ActivationFunction function, cudaStream_t stream, const GemmProblem& p,
                    const GemmOperands& operands) {
  dispatchActivationFunction(function, [&](auto constant) {
    constexpr ActivationFunction F = decltype(constant)::value;
    if constexpr (F == ActivationFunction::None) {
      launchSm90<T, kRowsB, Sm90Epilogue::Plain, F>(stream, p, operands);
    } else if constexpr (F != ActivationFunction::Tanh) {
      launchSm90<T, kRowsB, kEpilogue, F>(stream, p, operands);
    }
  });
}

// B stored (n, k): the forward pass.
template <class T>
void launchSm90Forward(cudaStream_t stream, const GemmProblem& p, const GemmOperands& operands) {
  launchSm90With<T, false, Sm90Epilogue::Activation>(p.function(GemmPiece::Kind::Activation), stream, p,
                                                     operands);
}

// B stored (k, n): the gradient of the input.
template <class T>
void launchSm90InputGradient(cudaStream_t stream, const GemmProblem& p, const GemmOperands& operands) {
  launchSm90With<T, true, Sm90Epilogue::Slope>(p.function(GemmPiece::Kind::Slope), stream, p, operands);
}

}  // namespace

}  // namespace tesserae
