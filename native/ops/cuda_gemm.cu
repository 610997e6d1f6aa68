#include "ops/cuda_gemm.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <tuple>

#include "ops/cuda_mma.cuh"
#include "ops/cuda_support.cuh"
#include "runtime/cuda/cublaslt.h"

namespace tesserae {

namespace {

// --- Own kernels
// --------------------------------------------------------------------------------------------

struct OwnArguments {
  const void *a, *b;
  void* c;
  int64_t m, n, k, lda, ldb, ldc;
  float alpha, beta;
  const float* bias;
};

constexpr int kTile = 128, kTileK = 32, kStages = 3, kThreads = 256;
constexpr int kGroup = 8;  // tile rows that are walked together, so that they share B in the L2 cache

// The place of a block's tile: columns inside groups of kGroup tile rows.
__device__ __forceinline__ void tileOf(int64_t m, int64_t n, int64_t* row, int64_t* column) {
  const int64_t rowTiles = divideUp(m, kTile), columnTiles = divideUp(n, kTile);
  const int64_t group = blockIdx.x / (kGroup * columnTiles), inside = blockIdx.x % (kGroup * columnTiles);
  const int64_t height = rowTiles - group * kGroup < kGroup ? rowTiles - group * kGroup : kGroup;
  *row = (group * kGroup + inside % height) * kTile;
  *column = inside / height * kTile;
}

template <class Out>
__device__ __forceinline__ void storeResult(const OwnArguments& g, int64_t row, int64_t column, float sum) {
  if (row >= g.m || column >= g.n) return;
  Out* c = static_cast<Out*>(g.c) + row * g.ldc + column;
  float value = g.alpha * sum;
  if (g.beta != 0) value += g.beta * toFloat(*c);
  if (g.bias) value += g.bias[column];
  *c = fromFloat<Out>(value);
}

// Strides in shared memory: an odd number of 16-byte words, so that ldmatrix finds its eight rows in
// different banks. A tile is (128, 32) where k is contiguous in memory, (32, 128) where it is not.
template <bool kContiguous>
constexpr int kTileStride = kContiguous ? kTileK + 8 : kTile + 8;
template <bool kContiguous>
constexpr int kTileElements = (kContiguous ? kTile : kTileK) * kTileStride<kContiguous>;

// Rows and columns beyond the matrix become zeros. Contiguous extents are multiples of 8.
template <bool kContiguous, class T>
__device__ __forceinline__ void loadTile(T* tile, const T* matrix, int64_t stride, int64_t first,
                                         int64_t extent, int64_t k0, int64_t k) {
  constexpr int kChunks = (kContiguous ? kTileK : kTile) / 8;  // of 8 elements in a stored row
#pragma unroll
  for (int i = 0; i < kTile * kTileK / 8 / kThreads; ++i) {
    const int chunk = threadIdx.x + i * kThreads, row = chunk / kChunks, column = chunk % kChunks * 8;
    const int64_t outer = (kContiguous ? first : k0) + row, inner = (kContiguous ? k0 : first) + column;
    const bool inside = outer < (kContiguous ? extent : k) && inner < (kContiguous ? k : extent);
    copyAsync16(tile + row * kTileStride<kContiguous> + column,
                inside ? matrix + outer * stride + inner : matrix, inside);
  }
}

// 128 × 128 of C in a block of 2 × 4 warps, 64 × 32 each.
template <class T, class Out, bool kTransA, bool kTransB>
__global__ void __launch_bounds__(kThreads, 2) tensorCoreGemm(OwnArguments g) {
  constexpr int kElementsA = kTileElements<!kTransA>, kElementsB = kTileElements<kTransB>;
  constexpr int kStrideA = kTileStride<!kTransA>, kStrideB = kTileStride<kTransB>;
  extern __shared__ __align__(16) char shared[];
  T* tiles = reinterpret_cast<T*>(shared);
  const T *a = static_cast<const T*>(g.a), *b = static_cast<const T*>(g.b);
  int64_t row, column;
  tileOf(g.m, g.n, &row, &column);
  const int warp = threadIdx.x / 32, warpRow = warp / 4 * 64, warpColumn = warp % 4 * 32;
  float sums[4][4][4] = {};
  const int64_t steps = divideUp(g.k, kTileK);
  const auto load = [&](int64_t step) {
    T* stage = tiles + step % kStages * (kElementsA + kElementsB);
    loadTile<!kTransA>(stage, a, g.lda, row, g.m, step * kTileK, g.k);
    loadTile<kTransB>(stage + kElementsA, b, g.ldb, column, g.n, step * kTileK, g.k);
  };
  for (int step = 0; step < kStages - 1; ++step) {
    if (step < steps) load(step);
    commitCopies();
  }
  for (int64_t step = 0; step < steps; ++step) {
    waitCopies<kStages - 2>();
    __syncthreads();  // the stage is there for all, and all are done with the one that is filled now
    if (step + kStages - 1 < steps) load(step + kStages - 1);
    commitCopies();
    const T* tileA = tiles + step % kStages * (kElementsA + kElementsB);
    const T* tileB = tileA + kElementsA;
#pragma unroll
    for (int k = 0; k < kTileK; k += 16) {
      uint32_t fragmentA[4][4], fragmentB[2][4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if constexpr (kTransA) {
          loadFragmentAColumns(fragmentA[i], tileA, kStrideA, warpRow + i * 16, k);
        } else {
          loadFragmentA(fragmentA[i], tileA, kStrideA, warpRow + i * 16, k);
        }
      }
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        if constexpr (kTransB) {
          loadFragmentsB(fragmentB[j], tileB, kStrideB, warpColumn + j * 16, k);
        } else {
          loadFragmentsBRows(fragmentB[j], tileB, kStrideB, warpColumn + j * 16, k);
        }
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          multiplyAccumulate<T>(sums[i][j], fragmentA[i], fragmentB[j / 2][j % 2 * 2],
                                fragmentB[j / 2][j % 2 * 2 + 1]);
        }
      }
    }
  }
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        storeResult<Out>(g, row + warpRow + i * 16 + lane / 4 + e / 2 * 8,
                         column + warpColumn + j * 8 + lane % 4 * 2 + e % 2, sums[i][j][e]);
      }
    }
  }
}

// Any types, strides and alignments, in fp32 multiply-adds: 128 × 128 of C in a block, 8 × 8 a thread.
template <class T, class Out, bool kTransA, bool kTransB>
__global__ void __launch_bounds__(kThreads, 2) plainGemm(OwnArguments g) {
  constexpr int kDepth = 8;
  __shared__ __align__(16) float tileA[kDepth][kTile + 4], tileB[kDepth][kTile + 4];
  const T *a = static_cast<const T*>(g.a), *b = static_cast<const T*>(g.b);
  int64_t row, column;
  tileOf(g.m, g.n, &row, &column);
  const int threadRow = threadIdx.x / 16 * 4, threadColumn = threadIdx.x % 16 * 4;
  float sums[8][8] = {};
  for (int64_t k0 = 0; k0 < g.k; k0 += kDepth) {
#pragma unroll
    for (int i = 0; i < kTile * kDepth / kThreads; ++i) {
      const int index = threadIdx.x + i * kThreads;
      {  // neighbouring threads read along the contiguous extent
        const int r = kTransA ? index % kTile : index / kDepth, k = kTransA ? index / kTile : index % kDepth;
        const bool inside = row + r < g.m && k0 + k < g.k;
        const int64_t at = kTransA ? (k0 + k) * g.lda + row + r : (row + r) * g.lda + k0 + k;
        tileA[k][r] = inside ? toFloat(a[at]) : 0.0f;
      }
      {
        const int c = kTransB ? index / kDepth : index % kTile, k = kTransB ? index % kDepth : index / kTile;
        const bool inside = column + c < g.n && k0 + k < g.k;
        const int64_t at = kTransB ? (column + c) * g.ldb + k0 + k : (k0 + k) * g.ldb + column + c;
        tileB[k][c] = inside ? toFloat(b[at]) : 0.0f;
      }
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      float x[8], y[8];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        *reinterpret_cast<float4*>(x + 4 * half) =
            *reinterpret_cast<const float4*>(&tileA[k][threadRow + 64 * half]);
        *reinterpret_cast<float4*>(y + 4 * half) =
            *reinterpret_cast<const float4*>(&tileB[k][threadColumn + 64 * half]);
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) {
#pragma unroll
        for (int j = 0; j < 8; ++j) sums[i][j] = fmaf(x[i], y[j], sums[i][j]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      storeResult<Out>(g, row + threadRow + i % 4 + i / 4 * 64, column + threadColumn + j % 4 + j / 4 * 64,
                       sums[i][j]);
    }
  }
}

template <class T, class Out, bool kTransA, bool kTransB>
void launchOwn(CUstream_st* stream, const OwnArguments& g, bool aligned) {
  const unsigned blocks = static_cast<unsigned>(divideUp(g.m, kTile) * divideUp(g.n, kTile));
  if constexpr (!std::is_same_v<T, float>) {
    if (aligned) {
      constexpr int kBytes = kStages * (kTileElements<!kTransA> + kTileElements<kTransB>)*2;
      const auto kernel = tensorCoreGemm<T, Out, kTransA, kTransB>;
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
      kernel<<<blocks, kThreads, kBytes, stream>>>(g);
      return cudaCheckLaunch("gemm");
    }
  }
  plainGemm<T, Out, kTransA, kTransB><<<blocks, kThreads, 0, stream>>>(g);
  cudaCheckLaunch("gemm");
}

template <class T, class Out>
void chooseOwn(CUstream_st* stream, const OwnArguments& g, const GemmShape& s, bool aligned) {
  if (s.transA && s.transB) return launchOwn<T, Out, true, true>(stream, g, aligned);
  if (s.transA) return launchOwn<T, Out, true, false>(stream, g, aligned);
  if (s.transB) return launchOwn<T, Out, false, true>(stream, g, aligned);
  launchOwn<T, Out, false, false>(stream, g, aligned);
}

void ownGemm(CUstream_st* stream, const GemmCall& call) {
  const GemmShape& s = call.shape;
  const OwnArguments g{call.a.data,   call.b.data,   call.c.data,   s.m,        s.n,       s.k,
                       call.a.stride, call.b.stride, call.c.stride, call.alpha, call.beta, call.bias};
  const auto fits = [](const GemmMatrix& matrix, int64_t contiguous) {
    return reinterpret_cast<uintptr_t>(matrix.data) % 16 == 0 && matrix.stride % 8 == 0 &&
           contiguous % 8 == 0;
  };
  const bool aligned = fits(call.a, s.transA ? s.m : s.k) && fits(call.b, s.transB ? s.k : s.n);
  dispatchActivationType(call.a.dtype, "gemm", [&](auto tag) {
    using T = typename decltype(tag)::Type;
    if (call.c.dtype == DType::F32) return chooseOwn<T, float>(stream, g, s, aligned);
    chooseOwn<T, T>(stream, g, s, aligned);
  });
}

// --- cuBLASLt
// -----------------------------------------------------------------------------------------------

// The bias in the type of the result, which is the only one that cuBLASLt adds.
template <class T>
__global__ void convertBias(const float* bias, T* to, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) to[i] = fromFloat<T>(bias[i]);
}

cudaDataType typeOf(DType type) {
  return type == DType::F32 ? CUDA_R_32F : (type == DType::BF16 ? CUDA_R_16BF : CUDA_R_16F);
}

// The alignment that a kernel may count on, at most 256.
int64_t alignmentOf(const void* pointer) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer) | 256;
  return static_cast<int64_t>(address & (~address + 1));
}

// What the choice of a kernel depends on.
using PlanKey = std::tuple<int,                         // device
                           bool, bool,                  // transA, transB
                           int64_t, int64_t, int64_t,   // m, n, k
                           int64_t, int64_t, int64_t,   // strides
                           DType, DType, bool, bool,    // of A and C; TF32; bias
                           bool, int64_t,               // beta; workspace
                           GemmFusion, bool,            // fusion; aux
                           int64_t, int64_t, int64_t>;  // alignment of A, B, C

// cuBLASLt is column-major: it computes Cᵀ (n, m) = op(B)ᵀ op(A)ᵀ, so its first matrix is our B.
struct Plan {
  bool usable = false;
  cublaslt::MatmulDesc description = nullptr;
  cublaslt::MatrixLayout first = nullptr, second = nullptr, result = nullptr;
  cublaslt::MatmulAlgo algorithm = {};
};

class Library {
 public:
  explicit Library(const CublasLt& lt) : lt_(lt) {}

  // False when cuBLASLt has no kernel for the call.
  bool run(int device, CUstream_st* stream, const GemmCall& call, const void* bias, void* workspace,
           int64_t workspaceBytes) {
    const std::lock_guard lock(mutex_);
    const cublaslt::Handle handle = handleOf(device);
    if (!handle) return false;
    const GemmShape& s = call.shape;
    const PlanKey key{device,
                      s.transA,
                      s.transB,
                      s.m,
                      s.n,
                      s.k,
                      call.a.stride,
                      call.b.stride,
                      call.c.stride,
                      call.a.dtype,
                      call.c.dtype,
                      call.precision == Precision::TF32,
                      bias != nullptr,
                      call.beta != 0,
                      workspaceBytes,
                      call.fusion,
                      call.aux != nullptr,
                      alignmentOf(call.a.data),
                      alignmentOf(call.b.data),
                      alignmentOf(call.c.data)};
    auto [it, missing] = plans_.try_emplace(key);
    Plan& plan = it->second;
    if (missing) plan = makePlan(handle, call, bias, workspaceBytes);
    if (!plan.usable) return false;
    if (bias) set(plan.description, cublaslt::CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    if (call.aux) set(plan.description, cublaslt::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, call.aux);
    const cublaslt::Status status =
        lt_.matmul(handle, plan.description, &call.alpha, call.b.data, plan.first, call.a.data, plan.second,
                   &call.beta, call.c.data, plan.result, call.c.data, plan.result, &plan.algorithm, workspace,
                   static_cast<size_t>(workspaceBytes), stream);
    if (status != cublaslt::kSuccess) {
      fail(ErrorCode::Device, "cublasLtMatmul failed with status %d for m %lld, n %lld, k %lld", status,
           static_cast<long long>(s.m), static_cast<long long>(s.n), static_cast<long long>(s.k));
    }
    return true;
  }

  void open(int device) {
    const std::lock_guard lock(mutex_);
    handleOf(device);
  }

 private:
  template <class Value>
  bool set(cublaslt::MatmulDesc description, cublaslt::MatmulDescAttribute attribute, const Value& value) {
    return lt_.matmulDescSetAttribute(description, attribute, &value, sizeof(value)) == cublaslt::kSuccess;
  }

  template <class Value>
  bool set(cublaslt::MatmulPreference preference, cublaslt::MatmulPreferenceAttribute attribute,
           const Value& value) {
    return lt_.matmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)) ==
           cublaslt::kSuccess;
  }

  // Made for the current device; null when it cannot be.
  cublaslt::Handle handleOf(int device) {
    auto [it, missing] = handles_.try_emplace(device, nullptr);
    if (missing && lt_.create(&it->second) != cublaslt::kSuccess) it->second = nullptr;
    return it->second;
  }

  static cublaslt::Epilogue epilogueOf(const GemmCall& call, const void* bias) {
    switch (call.fusion) {
      case GemmFusion::GeluNew:
        if (call.aux)
          return bias ? cublaslt::CUBLASLT_EPILOGUE_GELU_AUX_BIAS : cublaslt::CUBLASLT_EPILOGUE_GELU_AUX;
        return bias ? cublaslt::CUBLASLT_EPILOGUE_GELU_BIAS : cublaslt::CUBLASLT_EPILOGUE_GELU;
      case GemmFusion::GeluNewSlope:
        return cublaslt::CUBLASLT_EPILOGUE_DGELU;
      case GemmFusion::None:
        break;
    }
    return bias ? cublaslt::CUBLASLT_EPILOGUE_BIAS : cublaslt::CUBLASLT_EPILOGUE_DEFAULT;
  }

  // A layout of a row-major (rows, columns) matrix as cuBLASLt sees it: column-major (columns, rows).
  bool makeLayout(cublaslt::MatrixLayout* layout, const GemmMatrix& matrix, int64_t rows, int64_t columns) {
    return lt_.matrixLayoutCreate(layout, typeOf(matrix.dtype), static_cast<uint64_t>(columns),
                                  static_cast<uint64_t>(rows), matrix.stride) == cublaslt::kSuccess;
  }

  static cublaslt::ComputeType computeOf(const GemmCall& call) {
    if (call.a.dtype != DType::F32) return cublaslt::CUBLAS_COMPUTE_32F;
    // Pedantic: no TF32 even where the environment asks for it.
    return call.precision == Precision::TF32 ? cublaslt::CUBLAS_COMPUTE_32F_FAST_TF32
                                             : cublaslt::CUBLAS_COMPUTE_32F_PEDANTIC;
  }

  // Plans live as long as the process, like the handles.
  Plan makePlan(cublaslt::Handle handle, const GemmCall& call, const void* bias, int64_t workspaceBytes) {
    const GemmShape& s = call.shape;
    Plan plan;
    cublaslt::MatmulPreference preference = nullptr;
    const cublaslt::Transposition first = s.transB ? cublaslt::CUBLAS_OP_T : cublaslt::CUBLAS_OP_N,
                                  second = s.transA ? cublaslt::CUBLAS_OP_T : cublaslt::CUBLAS_OP_N;
    const cublaslt::Epilogue epilogue = epilogueOf(call, bias);
    // Parts of a split product are added in order, in fp32, or the product is not split.
    const uint32_t reduction = cublaslt::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    const auto alignment = [](const void* pointer) { return static_cast<uint32_t>(alignmentOf(pointer)); };
    const bool described =
        lt_.matmulDescCreate(&plan.description, computeOf(call), CUDA_R_32F) == cublaslt::kSuccess &&
        set(plan.description, cublaslt::CUBLASLT_MATMUL_DESC_TRANSA, first) &&
        set(plan.description, cublaslt::CUBLASLT_MATMUL_DESC_TRANSB, second) &&
        set(plan.description, cublaslt::CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue) &&
        (!bias || set(plan.description, cublaslt::CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias)) &&
        (!call.aux ||
         (set(plan.description, cublaslt::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, call.aux) &&
          set(plan.description, cublaslt::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, call.c.stride))) &&
        makeLayout(&plan.first, call.b, s.transB ? s.n : s.k, s.transB ? s.k : s.n) &&
        makeLayout(&plan.second, call.a, s.transA ? s.k : s.m, s.transA ? s.m : s.k) &&
        makeLayout(&plan.result, call.c, s.m, s.n) &&
        lt_.matmulPreferenceCreate(&preference) == cublaslt::kSuccess &&
        set(preference, cublaslt::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
            static_cast<uint64_t>(workspaceBytes)) &&
        set(preference, cublaslt::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reduction) &&
        set(preference, cublaslt::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(call.b.data)) &&
        set(preference, cublaslt::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(call.a.data)) &&
        set(preference, cublaslt::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(call.c.data)) &&
        set(preference, cublaslt::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(call.c.data));
    if (described) {
      cublaslt::MatmulHeuristicResult result;
      int found = 0;
      const cublaslt::Status status =
          lt_.matmulAlgoGetHeuristic(handle, plan.description, plan.first, plan.second, plan.result,
                                     plan.result, preference, 1, &result, &found);
      plan.usable = status == cublaslt::kSuccess && found == 1 && result.state == cublaslt::kSuccess;
      plan.algorithm = result.algo;
    }
    if (preference) lt_.matmulPreferenceDestroy(preference);
    if (!plan.usable) release(plan);
    return plan;
  }

  void release(Plan& plan) {
    if (plan.description) lt_.matmulDescDestroy(plan.description);
    for (cublaslt::MatrixLayout* layout : {&plan.first, &plan.second, &plan.result}) {
      if (*layout) lt_.matrixLayoutDestroy(*layout);
    }
    plan = Plan{};
  }

  const CublasLt& lt_;
  std::mutex mutex_;
  std::map<int, cublaslt::Handle> handles_;
  std::map<PlanKey, Plan> plans_;
};

// Null when cuBLASLt is absent or not wanted. Never destroyed: CUDA may be gone before static destructors
// run.
Library* library() {
  static Library* const instance = [] {
    const char* wanted = std::getenv("TESSERAE_GEMM");
    if (wanted && std::strcmp(wanted, "own") == 0) return static_cast<Library*>(nullptr);
    const CublasLt* lt = cublasLt();
    return lt ? new Library(*lt) : nullptr;
  }();
  return instance;
}

bool libraryGemm(CUstream_st* stream, const GemmCall& call) {
  Library* lt = library();
  if (!lt) return false;
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return false;
  char* workspace = static_cast<char*>(call.workspace);
  const int64_t bytes = std::min(call.workspaceBytes, kGemmLibraryBytes);
  const void* bias = call.bias;
  if (bias && call.c.dtype != DType::F32) {
    // PyTorch's autocast rounds the bias likewise. A pass that added it in fp32 would round the sum twice.
    const int64_t n = call.shape.n;
    if (call.workspaceBytes < bytes + n * 2) return false;
    const unsigned blocks = static_cast<unsigned>(divideUp(n, 256));
    if (call.c.dtype == DType::BF16) {
      convertBias<<<blocks, 256, 0, stream>>>(call.bias, reinterpret_cast<__nv_bfloat16*>(workspace + bytes),
                                              n);
    } else {
      convertBias<<<blocks, 256, 0, stream>>>(call.bias, reinterpret_cast<__half*>(workspace + bytes), n);
    }
    cudaCheckLaunch("gemm");
    bias = workspace + bytes;
  }
  return lt->run(device, stream, call, bias, workspace, bytes);
}

}  // namespace

void gemm(CUstream_st* stream, const GemmCall& call) {
  const GemmShape& s = call.shape;
  if (s.m <= 0 || s.n <= 0) return;
  const bool types = call.a.dtype == call.b.dtype && dtypeSize(call.a.dtype) <= 4 &&
                     (call.c.dtype == DType::F32 || call.c.dtype == call.a.dtype);
  if (!types || call.fusion != GemmFusion::None) {
    fail(ErrorCode::Internal, "gemm: no kernel multiplies %s by %s into %s", dtypeName(call.a.dtype),
         dtypeName(call.b.dtype), dtypeName(call.c.dtype));
  }
  if (call.rowsApart || !libraryGemm(stream, call)) ownGemm(stream, call);
}

bool fusedGemm(CUstream_st* stream, const GemmCall& call) {
  const GemmShape& s = call.shape;
  return s.m > 0 && s.n > 0 && dtypeSize(call.c.dtype) == 2 && libraryGemm(stream, call);
}

void initializeGemm(int device) {
  if (Library* lt = library()) lt->open(device);
}

}  // namespace tesserae
