#include "engine/initialize.h"

#include <cmath>
#include <numbers>

#include "runtime/philox.h"

namespace tesserae {

namespace {

// Box and Muller 1958: two uniforms give two normals. The first uniform lies in (0, 1].
void normalPair(uint32_t a, uint32_t b, double& first, double& second) {
  const double u = (static_cast<double>(a) + 1.0) / 4294967296.0;
  const double angle = 2.0 * std::numbers::pi * (static_cast<double>(b) / 4294967296.0);
  const double radius = std::sqrt(-2.0 * std::log(u));
  first = radius * std::cos(angle);
  second = radius * std::sin(angle);
}

}  // namespace

std::vector<float> drawInitialValues(const GraphParameter& parameter, uint64_t seed, int threads) {
  const TensorSpec spec{parameter.axes, DType::F32};
  const int64_t n = spec.logicalElements();
  std::vector<float> values(static_cast<size_t>(n));
  switch (parameter.init.type) {
    case Initializer::Constant:
      values.assign(values.size(), static_cast<float>(parameter.init.value));
      break;
    case Initializer::Normal: {
      const uint64_t key =
          seed ^ hashName(parameter.name.data(), static_cast<int64_t>(parameter.name.size()));
#pragma omp parallel for schedule(static) num_threads(threads)
      for (int64_t i = 0; i < n; i += 4) {
        const uint64_t block = static_cast<uint64_t>(i / 4);
        const Philox4 bits =
            philox(key, static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0);
        double normals[4];
        normalPair(bits.v[0], bits.v[1], normals[0], normals[1]);
        normalPair(bits.v[2], bits.v[3], normals[2], normals[3]);
        for (int64_t j = 0; j < 4 && i + j < n; ++j) {
          values[static_cast<size_t>(i + j)] = static_cast<float>(parameter.init.value * normals[j]);
        }
      }
      break;
    }
    case Initializer::Sinusoidal: {
      // pe[p, 2i] = sin(p / 10000^(2i/d)), pe[p, 2i+1] = cos(p / 10000^(2i/d)).
      const int64_t d = parameter.axes[1].logical();
      for (int64_t i = 0; i < n; ++i) {
        const int64_t position = i / d, column = i % d;
        const double rate = std::pow(10000.0, -static_cast<double>(column / 2 * 2) / static_cast<double>(d));
        const double angle = static_cast<double>(position) * rate;
        values[static_cast<size_t>(i)] =
            static_cast<float>(column % 2 == 0 ? std::sin(angle) : std::cos(angle));
      }
      break;
    }
  }
  return values;
}

}  // namespace tesserae
