// Types of elements, and the precision that a model computes in.
#pragma once

#include <cstdint>
#include <string_view>

namespace tesserae {

enum class DType : uint8_t { F32, F64, BF16, F16, I32, I64, U32, U8 };

int64_t dtypeSize(DType type);  // bytes an element
const char* dtypeName(DType type);
DType parseDType(std::string_view name);  // throws ERR_CONFIG

// How a model computes . It fixes the type of activations and of GEMM operands.
enum class Precision : uint8_t { FP32, TF32, FP16, BF16 };

const char* precisionName(Precision precision);
Precision parsePrecision(std::string_view name);  // throws ERR_CONFIG
DType activationType(Precision precision);
inline bool hasHalfCopy(Precision p) { return p == Precision::FP16 || p == Precision::BF16; }

// One number to BF16 or F16, rounded to nearest even, and back.
uint16_t toHalf(float value, DType type);
float fromHalf(uint16_t bits, DType type);

}  // namespace tesserae
