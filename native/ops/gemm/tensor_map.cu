#include "ops/cuda_support.cuh"
#include "ops/gemm/sm90.h"

namespace tesserae {

namespace {

// Of the driver, to which the addon is not linked.
decltype(&cuTensorMapEncodeTiled) encoder() {
  constexpr unsigned kVersion = 12000;
  void* found = nullptr;
  cudaDriverEntryPointQueryResult result;
  if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, kVersion, cudaEnableDefault,
                                       &result) != cudaSuccess ||
      result != cudaDriverEntryPointSuccess || !found)
    fail(ErrorCode::Device,
         "the NVIDIA driver has no cuTensorMapEncodeTiled; update it to the 580 series or newer");
  return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(found);
}

constexpr int64_t kBoxBytes = 128;  // of a row

CUtensorMapDataType mapType(DType type) {
  if (type == DType::F32) return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
  return type == DType::BF16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
}

}  // namespace

CUtensorMap tensorMap(const void* matrix, DType type, int64_t rows, int64_t columns, int boxRows) {
  static const auto encode = encoder();
  CUtensorMap map;
  const cuuint64_t extents[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t rowBytes[] = {static_cast<cuuint64_t>(columns * dtypeSize(type))};
  const cuuint32_t box[] = {static_cast<cuuint32_t>(kBoxBytes / dtypeSize(type)),
                            static_cast<cuuint32_t>(boxRows)},
                   steps[] = {1, 1};
  const CUresult status = encode(&map, mapType(type), 2, const_cast<void*>(matrix), extents, rowBytes, box,
                                 steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    fail(ErrorCode::Device, "TMA does not take a matrix of %lld × %lld at %p: status %d",
         static_cast<long long>(rows), static_cast<long long>(columns), matrix, static_cast<int>(status));
  }
  return map;
}

void launchSm90Gemm(CUstream_st* stream, const GemmProblem& p, const GemmOperands& operands,
                    void* workspace) {
  const bool bf16 = p.type == DType::BF16;
  if (p.has(GemmPiece::Kind::Exponentials)) return launchSm90ExponentialsBf16(stream, p, operands);
  if (p.transA)
    return (bf16 ? launchSm90WeightGradientBf16 : launchSm90WeightGradientF16)(stream, p, operands,
                                                                               workspace);
  if (p.transB) return (bf16 ? launchSm90ForwardBf16 : launchSm90ForwardF16)(stream, p, operands);
  return (bf16 ? launchSm90InputGradientBf16 : launchSm90InputGradientF16)(stream, p, operands);
}

}  // namespace tesserae
