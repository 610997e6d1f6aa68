// 16-bit products on Hopper. A block has a warpgroup that loads by TMA and two that multiply by wgmma, a tile
// of 128 × 192 each in turns: one stores its tile while the other has the tensor cores. Two blocks are a
// cluster: their tiles are one above the other, each loads half of a stage of B for both, and so the L2
// cache is read a third less. Clusters stay on their multiprocessors and take every n-th pair of tiles. A row
// of C depends on its row of A alone, bit for bit, except in weight gradients: their sums are long and their
// tiles few, so their k is cut into slices.
#pragma once

#include "ops/cuda_sm90.cuh"
#include "ops/gemm/pieces/column_sums.cuh"
#include "ops/gemm/pieces/exponentials.cuh"
#include "ops/gemm/pieces/row_scale.cuh"
#include "ops/gemm/pieces/slope.cuh"
#include "ops/gemm/pieces/tile_bias.cuh"
#include "ops/gemm/sm90.h"
#include "ops/gemm/tile_store.cuh"
#include "ops/gemm/turns.cuh"

namespace tesserae {

namespace {

constexpr int kTileK = 64, kStages = 4;
constexpr int kThreads = 3 * kWarpgroup;
constexpr int kBytesA = kTileM * kTileK * 2, kBytesB = kTileN * kTileK * 2, kStageBytes = kBytesA + kBytesB;
constexpr int kParts = kTileN / 64;  // of a tile in 16 bits
static_assert(kTileN == kExponentialColumns);

// What happens to a tile between the tensor cores and memory. Plain has a bias or a row scale where they are
// given. Sums are fp32 and those of a weight gradient: A is stored (k, m).
enum class Sm90Epilogue { Plain, Activation, Slope, Exponentials, Sums };

struct alignas(1024) Sm90Shared {
  char stages[kStages][kStageBytes];
  char staging[2 * kWarpgroup / 32][kBuffers][kPartBytes];  // of each multiplying warp
  uint64_t full[kStages], empty[kStages];
  uint64_t turn[2];                              // a warpgroup may use the tensor cores
  uint64_t loaded[2 * kWarpgroup / 32][kParts];  // a part of a warp's aux is in staging
  uint64_t sloped[2];                            // a warpgroup's first part of aux became slopes
};

struct Sm90Arguments {
  CUtensorMap a, b, c, aux;
  const float* bias;      // (n) or null
  bool keepInput;         // stores what the activation reads in aux
  float* columnSums;      // (columnSumRows(m), n) or null
  const float* rowScale;  // (m) or null
  GemmExponentials exponentials;
  bool accumulate;   // Sums are added to what C holds
  int32_t slices;    // of k; 1 but for Sums
  int32_t* arrived;  // slices that were added to C, for each tile and warp; zeros
  int32_t m, n, k;
};

// One thread keeps the ring of stages filled.
template <bool kRowsA, bool kRowsB>
__device__ __forceinline__ void loadTiles(const Sm90Arguments& g, Sm90Shared& shared, const TilePairs& pairs,
                                          const Turns& turns) {
  constexpr uint16_t kAll = (1 << kCluster) - 1;
  const int block = static_cast<int>(blockOfCluster());
  int stage = 0;
  uint32_t parity = 1;  // of a stage that was emptied; new ones are empty
  const auto load = [&](const Turn& turn) {
    const TilePlace at = pairs[turn.pair];
    for (int step = turn.first; step < turn.first + turn.steps; ++step) {
      waitPhase(&shared.empty[stage], parity);
      uint64_t* const barrier = &shared.full[stage];
      char *const a = shared.stages[stage], *const b = a + kBytesA;
      arriveExpecting(barrier, kStageBytes);
      if constexpr (kRowsA) {
#pragma unroll
        for (int part = 0; part < kTileM / 64; ++part)
          loadBox(a + part * kTileK * 128, g.a, at.row + part * 64, step * kTileK, barrier);
      } else {
        loadBox(a, g.a, step * kTileK, at.row, barrier);
      }
      if constexpr (kRowsB) {
        const int first = block * (kTileK / kCluster);  // of k
#pragma unroll
        for (int part = 0; part < kTileN / 64; ++part)
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
  };
  for (int turn = 0; turn < turns.count(); ++turn) {
    for (int warpgroup = 0; warpgroup < 2; ++warpgroup) load(turns.at<kRowsA>(warpgroup, turn));
  }
}

// The loading warpgroup's other threads compute the slopes of the first part of each tile.
constexpr int kSlopeThreads = kWarpgroup - 32;
template <ActivationFunction F>
__device__ __forceinline__ void computeSlopes(Sm90Shared& shared, const Turns& turns) {
  constexpr int kWarps = kWarpgroup / 32, kVectors = kPartBytes / sizeof(uint4);  // of a warp
  const int thread = static_cast<int>(threadIdx.x) % kWarpgroup - 32;
  for (int turn = 0; turn < turns.count(); ++turn) {
    for (int warpgroup = 0; warpgroup < 2; ++warpgroup) {
      if (turns.at<false>(warpgroup, turn).steps == 0) continue;
      const int first = warpgroup * kWarps;
      for (int warp = first; warp < first + kWarps; ++warp) waitPhase(&shared.loaded[warp][0], turn & 1);
      for (int i = thread; i < kWarps * kVectors; i += kSlopeThreads) {
        char* const part = shared.staging[first + i / kVectors][0];
        replaceBySlopes<F>(reinterpret_cast<uint4*>(part) + i % kVectors);
      }
      arrive(&shared.sloped[warpgroup]);
    }
  }
}

// Both blocks of a cluster write to a stage, so both must know that it is empty.
__device__ __forceinline__ void releaseStage(uint64_t* empty) {
  if (threadIdx.x % 32 < kCluster) arriveAt(empty, threadIdx.x % 32);
}

// sums += a tile of op(A) op(B), at least one step. `done`: steps of this block before the tile. The other
// warpgroup may have the tensor cores (`next`) before the last products are done.
template <class T, bool kRowsA, bool kRowsB>
__device__ __forceinline__ void multiplyTile(TileSums& sums, Sm90Shared& shared, int64_t done, int steps,
                                             uint64_t* next) {
  int stage = static_cast<int>(done % kStages), before = 0;
  uint32_t parity = done / kStages & 1;
  for (int step = 0; step < steps; ++step) {
    waitPhase(&shared.full[stage], parity);
    const uint64_t a = operandAt(shared.stages[stage], kRowsA ? kTileK * 128 : 16);
    const uint64_t b = operandAt(shared.stages[stage] + kBytesA, kRowsB ? kTileK * 128 : 16);
    fenceProducts();
#pragma unroll
    for (int k = 0; k < kTileK / 16; ++k) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        // 64 rows of A are 64 × 128 bytes in both layouts.
        multiply64x192<T, kRowsA, kRowsB>(sums[half],
                                          a + operandStep(half * 64 * 128 + (kRowsA ? k * 16 * 128 : k * 32)),
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

// op(A) is A, stored (m, k), or (k, m) for Sums. kRowsB: op(B) is B, stored (k, n); otherwise B is stored (n,
// k).
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
    for (uint64_t& barrier : shared.sloped) initBarrier(&barrier, kSlopeThreads);
    fenceBarriers();
  }
  __syncthreads();
  syncCluster();
  // The same in all lanes of a warp, which the compiler learns from the shuffle.
  const int warp = __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / 32, 0), warpgroup = warp / 4;
  constexpr bool kRowsA = kEpilogue == Sm90Epilogue::Sums;
  constexpr bool kAhead = kEpilogue == Sm90Epilogue::Slope && kSlopesAhead<T, F>;
  const TilePairs pairs(g.m, g.n);
  const int steps = (g.k + kTileK - 1) / kTileK;
  const Turns turns{pairs.count(), g.slices, steps};
  if (warpgroup == 2) {
    giveRegisters<kRowsA || kAhead ? 40 : 24>();
    if (threadIdx.x == 2 * kWarpgroup) loadTiles<kRowsA, kRowsB>(g, shared, pairs, turns);
    if constexpr (kAhead) {
      if (threadIdx.x >= 2 * kWarpgroup + 32) computeSlopes<F>(shared, turns);
    }
  } else {
    takeRegisters<kRowsA || kAhead ? 232 : 240>();
    const bool first = threadIdx.x % 32 == 0;
    std::conditional_t<kRowsA, WarpSums, WarpStore<T>> store{{shared.staging[warp], 0, 0, g.n}};
    int64_t done = 0;  // steps of the block before this turn
    uint32_t odd = 0;  // turn
    for (int turn = 0; turn < turns.count(); ++turn, odd ^= 1) {
      const Turn mine = turns.at<kRowsA>(warpgroup, turn), other = turns.at<kRowsA>(1 - warpgroup, turn);
      const int64_t before = done + (warpgroup == 0 ? 0 : other.steps);
      done += mine.steps + other.steps;
      // The first warpgroup begins; then each waits for the other's tile before.
      const auto waitTurn = [&] { waitPhase(&shared.turn[warpgroup], warpgroup == 0 ? odd ^ 1 : odd); };
      if (mine.steps == 0) {
        waitTurn();
        arrive(&shared.turn[1 - warpgroup]);
        continue;
      }
      const TilePlace at = pairs[mine.pair];
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
      // Set anew, so that the compiler may use the registers of sums that are stored for the others.
      TileSums sums = {};
      if constexpr (!kRowsB && kEpilogue != Sm90Epilogue::Exponentials)
        startFromBias(sums, g.bias, at.column, g.n);
      waitTurn();
      multiplyTile<T, kRowsA, kRowsB>(sums, shared, before, mine.steps, &shared.turn[1 - warpgroup]);
      if constexpr (kEpilogue == Sm90Epilogue::Sums) {
        // Slices are added in order: the result is the same each time.
        int32_t* const arrived = g.arrived + (mine.pair * kCluster + blockOfCluster()) * 4 + warp % 4;
        if (first && mine.slice > 0) waitArrived(arrived, mine.slice);
#pragma unroll
        for (int part = 0; part < kTileN / 32; ++part)
          store.part(g.c, sums, part, g.accumulate || mine.slice > 0);
        if (first && mine.slice + 1 < g.slices) {
          waitStores<0>();
          setArrived(arrived, mine.slice + 1);
        }
      } else if constexpr (kEpilogue == Sm90Epilogue::Slope) {
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          if (kAhead && part == 0) {
            waitPhase(&shared.sloped[warpgroup], odd);
            store.template part<true>(g.c, sums, part, multiplyBySlopes<T, F, true>);
          } else {
            waitPhase(&shared.loaded[warp][part], odd);
            store.template part<true>(g.c, sums, part, multiplyBySlopes<T, F, false>);
          }
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
        }
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          if constexpr (kEpilogue != Sm90Epilogue::Activation) {
            store.template part<false>(g.c, sums, part, unchanged);
          } else {
            if (g.keepInput) store.template part<false>(g.aux, sums, part, unchanged);
            store.template part<false>(g.c, sums, part, [](float* block, const uint32_t(&)[4]) {
#pragma unroll
              for (int i = 0; i < 8; ++i) block[i] = activateFor<F, T>(block[i]);
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

// Slices of k for which the clusters have the least to do. Adding a tile to C takes as long as a few steps.
inline int slicesOf(int64_t pairs, int64_t steps, int64_t clusters) {
  constexpr int64_t kMostSlices = 16, kFewestSteps = 16, kStepsOfAdding = 4;
  int best = 1;
  int64_t least = INT64_MAX;
  for (int64_t slices = 1; slices <= kMostSlices && (slices == 1 || steps / slices >= kFewestSteps);
       ++slices) {
    const int64_t work = divideUp(pairs * slices, clusters) * (divideUp(steps, slices) + kStepsOfAdding);
    if (work < least) {
      least = work;
      best = static_cast<int>(slices);
    }
  }
  return best;
}

template <class T, bool kRowsB, Sm90Epilogue kEpilogue, ActivationFunction F>
void launchSm90(cudaStream_t stream, const GemmProblem& p, const GemmOperands& operands,
                void* workspace = nullptr) {
  Sm90Arguments g{kEpilogue == Sm90Epilogue::Sums ? tensorMap(operands.a, p.type, p.k, p.m, kTileK)
                                                  : tensorMap(operands.a, p.type, p.m, p.k, kTileM),
                  kRowsB ? tensorMap(operands.b, p.type, p.k, p.n, kTileK / kCluster)
                         : tensorMap(operands.b, p.type, p.n, p.k, kTileN / kCluster),
                  tensorMap(operands.c, p.result, p.m, p.n, kSliceRows),
                  operands.aux ? tensorMap(operands.aux, p.type, p.m, p.n, kSliceRows) : CUtensorMap{},
                  operands.bias,
                  operands.aux != nullptr,
                  operands.columnSums,
                  operands.rowScale,
                  operands.exponentials,
                  operands.accumulate,
                  1,
                  static_cast<int32_t*>(workspace),
                  static_cast<int32_t>(p.m),
                  static_cast<int32_t>(p.n),
                  static_cast<int32_t>(p.k)};
  const auto kernel = sm90Gemm<T, kRowsB, kEpilogue, F>;
  constexpr int kBytes = sizeof(Sm90Shared);
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  static const int resident = residentBlocks(kernel, kThreads, "gemm", kBytes) / kCluster;
  const int64_t pairs = divideUp(p.m, kCluster * kTileM) * divideUp(p.n, kTileN);
  if constexpr (kEpilogue == Sm90Epilogue::Sums) {
    g.slices = slicesOf(pairs, divideUp(p.k, kTileK), resident);
    const auto bytes = static_cast<size_t>(pairs * kCluster * 4) * sizeof(int32_t);
    if (g.slices > 1 && cudaMemsetAsync(workspace, 0, bytes, stream) != cudaSuccess)
      fail(ErrorCode::Device, "gemm: clearing its counts failed: %s", cudaGetErrorString(cudaGetLastError()));
  }
  const int64_t clusters = std::min<int64_t>(pairs * g.slices, resident);
  kernel<<<static_cast<unsigned>(clusters * kCluster), kThreads, kBytes, stream>>>(g);
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
