#include "runtime/chips.h"

#include "runtime/error.h"

namespace tesserae {

double Chip::matrixRate(Precision precision) const {
  switch (precision) {
    case Precision::FP32:
      return fp32;
    case Precision::TF32:
      return tf32;
    default:
      return half;
  }
}

Target Chip::target(Precision precision, int threads) const {
  if (!cuda) return {.kind = DeviceKind::CPU, .precision = precision, .threads = threads};
  return {.kind = DeviceKind::CUDA,
          .precision = precision,
          .arch = arch,
          .multiprocessors = multiprocessors,
          .cublasLt = true,
          .threads = threads};
}

const std::vector<Chip>& chips() {
  constexpr double T = 1e12, GiB = 1024.0 * 1024 * 1024;
  // Vendors' dense peaks; of the h100 bandwidth as measured by a copy (3.0 TB/s of 3.35), and memory as the
  // driver leaves it (81,079 MiB of 81,559).
  static const std::vector<Chip> table = {
      {"h100", "NVIDIA H100 SXM 80 GB", "NVIDIA H100 80GB HBM3", 67 * T, 494 * T, 989 * T, 67 * T, 3.0 * T,
       79.18 * GiB, true, 90, 132},
      {"h200", "NVIDIA H200 SXM 141 GB", "NVIDIA H200", 67 * T, 494 * T, 989 * T, 67 * T, 4.3 * T, 140 * GiB,
       true, 90, 132},
      {"a100", "NVIDIA A100 SXM 80 GB", "NVIDIA A100-SXM4-80GB", 19.5 * T, 156 * T, 312 * T, 19.5 * T,
       1.8 * T, 79 * GiB, true, 80, 108},
      {"a10", "NVIDIA A10 24 GB", "NVIDIA A10", 31 * T, 62 * T, 125 * T, 31 * T, 0.54 * T, 22 * GiB, true, 86,
       72},
      {"l4", "NVIDIA L4 24 GB", "NVIDIA L4", 30 * T, 60 * T, 121 * T, 30 * T, 0.27 * T, 22 * GiB, true, 89,
       58},
      {"l40s", "NVIDIA L40S 48 GB", "NVIDIA L40S", 91 * T, 183 * T, 362 * T, 91 * T, 0.78 * T, 44 * GiB, true,
       89, 142},
      {"rtx4090", "NVIDIA GeForce RTX 4090 24 GB", "NVIDIA GeForce RTX 4090", 82 * T, 82 * T, 165 * T, 82 * T,
       0.92 * T, 23.5 * GiB, true, 89, 128},
      {"rtx3090", "NVIDIA GeForce RTX 3090 24 GB", "NVIDIA GeForce RTX 3090", 35 * T, 35 * T, 71 * T, 35 * T,
       0.84 * T, 23.5 * GiB, true, 86, 82},
      {"cpu", "two cores of a server with AVX-512, fp32", nullptr, 0.25 * T, 0.25 * T, 0.25 * T, 0.06 * T,
       0.02 * T, 24 * GiB, false, 0, 0},
  };
  return table;
}

const Chip& findChip(const std::string& name) {
  std::string names;
  for (const Chip& chip : chips()) {
    if (name == chip.name) return chip;
    names += std::string(names.empty() ? "" : ", ") + chip.name;
  }
  fail(ErrorCode::Config, "unknown chip '%s': use one of %s", name.c_str(), names.c_str());
}

const Chip* chipOf(const std::string& device) {
  for (const Chip& chip : chips()) {
    if (chip.device && device == chip.device) return &chip;
  }
  return nullptr;
}

}  // namespace tesserae
