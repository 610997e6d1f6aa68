#include "runtime/dtype.h"

#include <bit>
#include <string>

#include "runtime/error.h"

namespace tesserae {

namespace {
struct TypeRow {
  DType type;
  const char* name;
  int64_t size;
};
constexpr TypeRow kTypes[] = {
    {DType::F32, "float32", 4}, {DType::F64, "float64", 8}, {DType::BF16, "bfloat16", 2},
    {DType::F16, "float16", 2}, {DType::I32, "int32", 4},   {DType::I64, "int64", 8},
    {DType::U32, "uint32", 4},  {DType::U8, "uint8", 1},
};
const char* const kPrecisions[] = {"fp32", "tf32", "fp16", "bf16"};
}  // namespace

int64_t dtypeSize(DType type) { return kTypes[static_cast<int>(type)].size; }

const char* dtypeName(DType type) { return kTypes[static_cast<int>(type)].name; }

DType parseDType(std::string_view name) {
  for (const TypeRow& row : kTypes) {
    if (name == row.name) return row.type;
  }
  fail(ErrorCode::Config, "unknown dtype '%s'", std::string(name).c_str());
}

const char* precisionName(Precision precision) { return kPrecisions[static_cast<int>(precision)]; }

Precision parsePrecision(std::string_view name) {
  for (int i = 0; i < 4; ++i) {
    if (name == kPrecisions[i]) return static_cast<Precision>(i);
  }
  fail(ErrorCode::Config, "unknown precision '%s': use fp32, tf32, fp16 or bf16", std::string(name).c_str());
}

DType activationType(Precision precision) {
  if (precision == Precision::FP16) return DType::F16;
  if (precision == Precision::BF16) return DType::BF16;
  return DType::F32;
}

uint16_t toHalf(float value, DType type) {
  if (type == DType::F16) return std::bit_cast<uint16_t>(static_cast<_Float16>(value));
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>((bits >> 16) | 0x40);  // NaN stays NaN
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float fromHalf(uint16_t bits, DType type) {
  if (type == DType::F16) return static_cast<float>(std::bit_cast<_Float16>(bits));
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

}  // namespace tesserae
