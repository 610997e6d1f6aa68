#include "ops/gemm/cublaslt.h"

#include <map>
#include <mutex>
#include <utility>

#include "ops/cuda_support.cuh"
#include "runtime/cuda/cublaslt.h"

namespace tesserae {

namespace {

// What memory of ours is aligned to, in bytes: parts of an arena, and rows where a panel of a product begins.
constexpr uint32_t kAlignment = 256;

// The bias in the type of the result, which is the only one that cuBLASLt adds. PyTorch's autocast rounds it
// likewise; a pass that added it in fp32 would round the sum twice.
template <class T>
__global__ void convertBias(const float* bias, T* to, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) to[i] = fromFloat<T>(bias[i]);
}

cudaDataType typeOf(DType type) {
  return type == DType::F32 ? CUDA_R_32F : (type == DType::BF16 ? CUDA_R_16BF : CUDA_R_16F);
}

cublaslt::ComputeType computeOf(DType type, Precision precision) {
  if (type != DType::F32) return cublaslt::CUBLAS_COMPUTE_32F;
  // Pedantic: no TF32 even where the environment asks for it.
  return precision == Precision::TF32 ? cublaslt::CUBLAS_COMPUTE_32F_FAST_TF32
                                      : cublaslt::CUBLAS_COMPUTE_32F_PEDANTIC;
}

// The epilogue of a list of pieces that gemmKernels lets cuBLASLt have.
cublaslt::Epilogue epilogueOf(const GemmProblem& p) {
  using Kind = GemmPiece::Kind;
  const bool bias = p.has(Kind::Bias);
  if (p.has(Kind::Slope)) return cublaslt::CUBLASLT_EPILOGUE_DGELU;
  if (p.has(Kind::Activation)) {
    if (p.has(Kind::KeepInput))
      return bias ? cublaslt::CUBLASLT_EPILOGUE_GELU_AUX_BIAS : cublaslt::CUBLASLT_EPILOGUE_GELU_AUX;
    return bias ? cublaslt::CUBLASLT_EPILOGUE_GELU_BIAS : cublaslt::CUBLASLT_EPILOGUE_GELU;
  }
  return bias ? cublaslt::CUBLASLT_EPILOGUE_BIAS : cublaslt::CUBLASLT_EPILOGUE_DEFAULT;
}

// The handle of the current device; null when there is none. Never destroyed: CUDA may be gone before static
// destructors run.
cublaslt::Handle handleOfDevice(const CublasLt& lt) {
  static std::mutex mutex;
  static auto* const handles = new std::map<int, cublaslt::Handle>;
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return nullptr;
  const std::lock_guard lock(mutex);
  auto [it, missing] = handles->try_emplace(device, nullptr);
  if (missing && lt.create(&it->second) != cublaslt::kSuccess) it->second = nullptr;
  return it->second;
}

}  // namespace

// cuBLASLt is column-major: it computes Cᵀ (n, m) = op(B)ᵀ op(A)ᵀ, so its first matrix is our B.
class LibraryProduct {
 public:
  LibraryProduct(const CublasLt& lt, cublaslt::Handle handle) : lt_(lt), handle_(handle) {}
  ~LibraryProduct() {
    if (description_) lt_.matmulDescDestroy(description_);
    for (cublaslt::MatrixLayout layout : {first_, second_, result_}) {
      if (layout) lt_.matrixLayoutDestroy(layout);
    }
  }
  LibraryProduct(const LibraryProduct&) = delete;
  LibraryProduct& operator=(const LibraryProduct&) = delete;

  // False where cuBLASLt does not know such a product.
  bool describe(const GemmProblem& p, Precision precision) {
    using Kind = GemmPiece::Kind;
    const cublaslt::Transposition first = p.transB ? cublaslt::CUBLAS_OP_T : cublaslt::CUBLAS_OP_N,
                                  second = p.transA ? cublaslt::CUBLAS_OP_T : cublaslt::CUBLAS_OP_N;
    const void* const somewhere = reinterpret_cast<const void*>(uintptr_t{kAlignment});  // until run() says
    const bool aux = p.has(Kind::KeepInput) || p.has(Kind::Slope);
    return lt_.matmulDescCreate(&description_, computeOf(p.type, precision), CUDA_R_32F) ==
               cublaslt::kSuccess &&
           set(cublaslt::CUBLASLT_MATMUL_DESC_TRANSA, first) &&
           set(cublaslt::CUBLASLT_MATMUL_DESC_TRANSB, second) &&
           set(cublaslt::CUBLASLT_MATMUL_DESC_EPILOGUE, epilogueOf(p)) &&
           (!p.has(Kind::Bias) || set(cublaslt::CUBLASLT_MATMUL_DESC_BIAS_POINTER, somewhere)) &&
           (!aux || (set(cublaslt::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, somewhere) &&
                     set(cublaslt::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, p.strideC()))) &&
           makeLayout(&first_, p.type, p.transB ? p.n : p.k, p.strideB()) &&
           makeLayout(&second_, p.type, p.transA ? p.k : p.m, p.strideA()) &&
           makeLayout(&result_, p.result, p.m, p.strideC());
  }

  // The algorithms that the heuristic proposes for what was described, at most `most`.
  std::vector<cublaslt::MatmulAlgo> algorithms(int most) {
    cublaslt::MatmulPreference preference = nullptr;
    if (lt_.matmulPreferenceCreate(&preference) != cublaslt::kSuccess) return {};
    const auto prefer = [&](cublaslt::MatmulPreferenceAttribute attribute, const auto& value) {
      return lt_.matmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)) ==
             cublaslt::kSuccess;
    };
    // Parts of a split product are added in order, in fp32, or the product is not split.
    const uint32_t reduction = cublaslt::CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    std::vector<cublaslt::MatmulHeuristicResult> results(static_cast<size_t>(most));
    int found = 0;
    const bool answered =
        prefer(cublaslt::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
               static_cast<uint64_t>(kGemmLibraryBytes)) &&
        prefer(cublaslt::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reduction) &&
        prefer(cublaslt::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, kAlignment) &&
        prefer(cublaslt::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, kAlignment) &&
        prefer(cublaslt::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, kAlignment) &&
        prefer(cublaslt::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, kAlignment) &&
        lt_.matmulAlgoGetHeuristic(handle_, description_, first_, second_, result_, result_, preference, most,
                                   results.data(), &found) == cublaslt::kSuccess;
    lt_.matmulPreferenceDestroy(preference);
    std::vector<cublaslt::MatmulAlgo> usable;
    for (int i = 0; answered && i < found; ++i) {
      if (results[i].state == cublaslt::kSuccess) usable.push_back(results[i].algo);
    }
    return usable;
  }

  void use(const cublaslt::MatmulAlgo& algorithm) { algorithm_ = algorithm; }

  void run(CUstream_st* stream, const GemmProblem& p, const GemmOperands& operands, const void* bias,
           void* workspace) {
    using Kind = GemmPiece::Kind;
    if (bias) set(cublaslt::CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    if (p.has(Kind::KeepInput) || p.has(Kind::Slope))
      set(cublaslt::CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, operands.aux);
    const float alpha = 1, beta = operands.accumulate ? 1.0f : 0.0f;
    const cublaslt::Status status =
        lt_.matmul(handle_, description_, &alpha, operands.b, first_, operands.a, second_, &beta, operands.c,
                   result_, operands.c, result_, &algorithm_, workspace, kGemmLibraryBytes, stream);
    if (status != cublaslt::kSuccess) {
      fail(ErrorCode::Device, "cublasLtMatmul failed with status %d for m %lld, n %lld, k %lld", status,
           static_cast<long long>(p.m), static_cast<long long>(p.n), static_cast<long long>(p.k));
    }
  }

 private:
  template <class Value>
  bool set(cublaslt::MatmulDescAttribute attribute, const Value& value) {
    return lt_.matmulDescSetAttribute(description_, attribute, &value, sizeof(value)) == cublaslt::kSuccess;
  }

  // A layout of a row-major (rows, columns) matrix as cuBLASLt sees it: column-major (columns, rows).
  bool makeLayout(cublaslt::MatrixLayout* layout, DType type, int64_t rows, int64_t columns) {
    return lt_.matrixLayoutCreate(layout, typeOf(type), static_cast<uint64_t>(columns),
                                  static_cast<uint64_t>(rows), columns) == cublaslt::kSuccess;
  }

  const CublasLt& lt_;
  const cublaslt::Handle handle_;
  cublaslt::MatmulDesc description_ = nullptr;
  cublaslt::MatrixLayout first_ = nullptr, second_ = nullptr, result_ = nullptr;
  cublaslt::MatmulAlgo algorithm_ = {};
};

std::vector<std::shared_ptr<LibraryProduct>> libraryProducts(const GemmProblem& problem, Precision precision,
                                                             int most) {
  const CublasLt* const lt = cublasLt();
  const cublaslt::Handle handle = lt ? handleOfDevice(*lt) : nullptr;
  if (!handle) return {};
  // A bias in another type than fp32 is converted behind the library's workspace.
  const int64_t room = kGemmWorkspaceBytes - kGemmLibraryBytes;
  if (problem.has(GemmPiece::Kind::Bias) && problem.result != DType::F32 && problem.n * 2 > room) return {};
  LibraryProduct asked(*lt, handle);
  if (!asked.describe(problem, precision)) return {};
  std::vector<std::shared_ptr<LibraryProduct>> products;
  for (const cublaslt::MatmulAlgo& algorithm : asked.algorithms(most)) {
    auto product = std::make_shared<LibraryProduct>(*lt, handle);
    if (!product->describe(problem, precision)) break;
    product->use(algorithm);
    products.push_back(std::move(product));
  }
  return products;
}

void runLibraryProduct(CUstream_st* stream, LibraryProduct& product, const GemmProblem& problem,
                       const GemmOperands& operands, void* workspace) {
  const void* bias = operands.bias;
  if (bias && problem.result != DType::F32) {
    void* const converted = static_cast<char*>(workspace) + kGemmLibraryBytes;
    dispatchActivationType(problem.result, "gemm", [&](auto tag) {
      using T = typename decltype(tag)::Type;
      convertBias<<<static_cast<unsigned>(divideUp(problem.n, 256)), 256, 0, stream>>>(
          operands.bias, static_cast<T*>(converted), problem.n);
    });
    cudaCheckLaunch("gemm");
    bias = converted;
  }
  product.run(stream, problem, operands, bias, workspace);
}

}  // namespace tesserae
