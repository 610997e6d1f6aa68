#pragma once

#include <cstdint>

namespace tesserae {

// Functions of one element, under Hugging Face's names. All map 0 to 0, so padding lanes stay zero.
enum class ActivationFunction : uint8_t {
  None,
  Gelu,     // "gelu": x Φ(x), Φ the normal distribution function (Hendrycks & Gimpel 2016)
  GeluNew,  // "gelu_new": 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))), the same paper's approximation
  Relu,     // "relu"
  Silu,     // "silu": x / (1 + e^-x)
  Tanh,     // "tanh"
};

// "" is None. Throws ERR_CONFIG, listing the known names.
ActivationFunction parseActivation(const char* name);
const char* activationName(ActivationFunction function);

}  // namespace tesserae
