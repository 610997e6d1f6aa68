// Compiled where cublasLt.h is: our declarations of cuBLASLt (runtime/cuda/cublaslt.h) are the vendor's.
#include "runtime/cuda/cublaslt.h"

#include <cublasLt.h>

#include <cstddef>
#include <type_traits>

namespace tesserae {

namespace {

// Passed alike: handles are pointers to structures there and void* here, enumerations have the size of ours.
template <class A, class B>
constexpr bool kAlike =
    sizeof(A) == sizeof(B) && alignof(A) == alignof(B) &&
    std::is_pointer_v<A> == std::is_pointer_v<B>&& std::is_floating_point_v<A> == std::is_floating_point_v<B>;

template <class R, class... A, class S, class... B>
constexpr bool sameCall(R (*)(A...), S (*)(B...)) {
  if constexpr (sizeof...(A) != sizeof...(B)) {
    return false;
  } else {
    return kAlike<R, S> && (kAlike<A, B> && ...);
  }
}

#define TESSERAE_SAME_CALL(member, function) \
  static_assert(sameCall(decltype(CublasLt::member){}, decltype(&function){}), #function)
TESSERAE_SAME_CALL(create, cublasLtCreate);
TESSERAE_SAME_CALL(matmulDescCreate, cublasLtMatmulDescCreate);
TESSERAE_SAME_CALL(matmulDescDestroy, cublasLtMatmulDescDestroy);
TESSERAE_SAME_CALL(matmulDescSetAttribute, cublasLtMatmulDescSetAttribute);
TESSERAE_SAME_CALL(matrixLayoutCreate, cublasLtMatrixLayoutCreate);
TESSERAE_SAME_CALL(matrixLayoutDestroy, cublasLtMatrixLayoutDestroy);
TESSERAE_SAME_CALL(matmulPreferenceCreate, cublasLtMatmulPreferenceCreate);
TESSERAE_SAME_CALL(matmulPreferenceDestroy, cublasLtMatmulPreferenceDestroy);
TESSERAE_SAME_CALL(matmulPreferenceSetAttribute, cublasLtMatmulPreferenceSetAttribute);
TESSERAE_SAME_CALL(matmulAlgoGetHeuristic, cublasLtMatmulAlgoGetHeuristic);
TESSERAE_SAME_CALL(matmul, cublasLtMatmul);
TESSERAE_SAME_CALL(version, cublasLtGetVersion);

#define TESSERAE_SAME_VALUE(name) \
  static_assert(static_cast<long long>(cublaslt::name) == static_cast<long long>(::name), #name)
TESSERAE_SAME_VALUE(CUBLAS_COMPUTE_32F);
TESSERAE_SAME_VALUE(CUBLAS_COMPUTE_32F_PEDANTIC);
TESSERAE_SAME_VALUE(CUBLAS_COMPUTE_32F_FAST_TF32);
TESSERAE_SAME_VALUE(CUBLAS_OP_N);
TESSERAE_SAME_VALUE(CUBLAS_OP_T);
TESSERAE_SAME_VALUE(CUBLASLT_MATMUL_DESC_TRANSA);
TESSERAE_SAME_VALUE(CUBLASLT_MATMUL_DESC_TRANSB);
TESSERAE_SAME_VALUE(CUBLASLT_MATMUL_DESC_EPILOGUE);
TESSERAE_SAME_VALUE(CUBLASLT_MATMUL_DESC_BIAS_POINTER);
TESSERAE_SAME_VALUE(CUBLASLT_EPILOGUE_DEFAULT);
TESSERAE_SAME_VALUE(CUBLASLT_EPILOGUE_BIAS);
TESSERAE_SAME_VALUE(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
TESSERAE_SAME_VALUE(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
TESSERAE_SAME_VALUE(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
TESSERAE_SAME_VALUE(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
TESSERAE_SAME_VALUE(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
TESSERAE_SAME_VALUE(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
TESSERAE_SAME_VALUE(CUBLASLT_REDUCTION_SCHEME_NONE);
TESSERAE_SAME_VALUE(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
static_assert(cublaslt::kSuccess == CUBLAS_STATUS_SUCCESS);

static_assert(sizeof(cublaslt::MatmulAlgo) == sizeof(cublasLtMatmulAlgo_t));
static_assert(alignof(cublaslt::MatmulAlgo) == alignof(cublasLtMatmulAlgo_t));
static_assert(sizeof(cublaslt::MatmulHeuristicResult) == sizeof(cublasLtMatmulHeuristicResult_t));
#define TESSERAE_SAME_PLACE(field)                                      \
  static_assert(offsetof(cublaslt::MatmulHeuristicResult, field) ==     \
                    offsetof(cublasLtMatmulHeuristicResult_t, field) && \
                sizeof(cublaslt::MatmulHeuristicResult::field) ==       \
                    sizeof(cublasLtMatmulHeuristicResult_t::field))
TESSERAE_SAME_PLACE(algo);
TESSERAE_SAME_PLACE(workspaceSize);
TESSERAE_SAME_PLACE(state);
TESSERAE_SAME_PLACE(wavesCount);

}  // namespace

}  // namespace tesserae
