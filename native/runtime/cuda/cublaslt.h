// cuBLASLt, opened at run time and declared as far as it is called: the package works without it. Names and
// values are those of cublasLt.h (the same in versions 12 and 13).
#pragma once

#include <cuda_runtime_api.h>
#include <library_types.h>

#include <cstddef>
#include <cstdint>

namespace tesserae {

namespace cublaslt {

using Handle = void*;
using MatmulDesc = void*;
using MatrixLayout = void*;
using MatmulPreference = void*;
using Status = int;  // cublasStatus_t

inline constexpr Status kSuccess = 0;

enum ComputeType : int32_t {
  CUBLAS_COMPUTE_32F = 68,
  CUBLAS_COMPUTE_32F_PEDANTIC = 69,
  CUBLAS_COMPUTE_32F_FAST_TF32 = 77,
};
enum Transposition : int32_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum MatmulDescAttribute : int32_t {
  CUBLASLT_MATMUL_DESC_TRANSA = 3,
  CUBLASLT_MATMUL_DESC_TRANSB = 4,
  CUBLASLT_MATMUL_DESC_EPILOGUE = 7,
  CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8,
  CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER = 11,
  CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD = 12,
};
// GELU is the tanh form. AUX: its argument is stored too, or for DGELU read.
enum Epilogue : uint32_t {
  CUBLASLT_EPILOGUE_DEFAULT = 1,
  CUBLASLT_EPILOGUE_BIAS = 4,
  CUBLASLT_EPILOGUE_GELU = 32,
  CUBLASLT_EPILOGUE_GELU_BIAS = 36,
  CUBLASLT_EPILOGUE_GELU_AUX = 160,
  CUBLASLT_EPILOGUE_GELU_AUX_BIAS = 164,
  CUBLASLT_EPILOGUE_DGELU = 192,
};
enum MatmulPreferenceAttribute : int32_t {
  CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,
  CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK = 3,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8,
};
// How the parts of a product that is split along k are added. COMPUTE_TYPE keeps them in the workspace in
// fp32 and adds them in order.
enum ReductionScheme : uint32_t {
  CUBLASLT_REDUCTION_SCHEME_NONE = 0,
  CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE = 2,
};

struct MatmulAlgo {
  uint64_t data[8];
};
struct MatmulHeuristicResult {
  MatmulAlgo algo;
  size_t workspaceSize;
  Status state;
  float wavesCount;
  int reserved[4];
};

}  // namespace cublaslt

// The library's functions.
struct CublasLt {
  cublaslt::Status (*create)(cublaslt::Handle*);
  cublaslt::Status (*matmulDescCreate)(cublaslt::MatmulDesc*, cublaslt::ComputeType, cudaDataType scale);
  cublaslt::Status (*matmulDescDestroy)(cublaslt::MatmulDesc);
  cublaslt::Status (*matmulDescSetAttribute)(cublaslt::MatmulDesc, cublaslt::MatmulDescAttribute, const void*,
                                             size_t);
  cublaslt::Status (*matrixLayoutCreate)(cublaslt::MatrixLayout*, cudaDataType, uint64_t rows,
                                         uint64_t columns, int64_t stride);
  cublaslt::Status (*matrixLayoutDestroy)(cublaslt::MatrixLayout);
  cublaslt::Status (*matmulPreferenceCreate)(cublaslt::MatmulPreference*);
  cublaslt::Status (*matmulPreferenceDestroy)(cublaslt::MatmulPreference);
  cublaslt::Status (*matmulPreferenceSetAttribute)(cublaslt::MatmulPreference,
                                                   cublaslt::MatmulPreferenceAttribute, const void*, size_t);
  cublaslt::Status (*matmulAlgoGetHeuristic)(cublaslt::Handle, cublaslt::MatmulDesc, cublaslt::MatrixLayout a,
                                             cublaslt::MatrixLayout b, cublaslt::MatrixLayout c,
                                             cublaslt::MatrixLayout d, cublaslt::MatmulPreference,
                                             int requested, cublaslt::MatmulHeuristicResult*, int* returned);
  cublaslt::Status (*matmul)(cublaslt::Handle, cublaslt::MatmulDesc, const void* alpha, const void* a,
                             cublaslt::MatrixLayout, const void* b, cublaslt::MatrixLayout, const void* beta,
                             const void* c, cublaslt::MatrixLayout, void* d, cublaslt::MatrixLayout,
                             const cublaslt::MatmulAlgo*, void* workspace, size_t workspaceBytes,
                             cudaStream_t);
  size_t (*version)();
};

// Opened at the first call; null when it is not on this machine. It stays open until the process ends.
const CublasLt* cublasLt();

}  // namespace tesserae
