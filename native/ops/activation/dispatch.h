// From an activation function that is known at run time to code for that function alone.
#pragma once

#include <type_traits>

#include "ops/activation/functions.h"

namespace tesserae {

// Calls f with the function as a constant type: decltype(constant)::value. None has one too.
template <class Call>
void dispatchActivationFunction(ActivationFunction function, Call&& call) {
  switch (function) {
    case ActivationFunction::None:
      return call(std::integral_constant<ActivationFunction, ActivationFunction::None>{});
    case ActivationFunction::Gelu:
      return call(std::integral_constant<ActivationFunction, ActivationFunction::Gelu>{});
    case ActivationFunction::GeluNew:
      return call(std::integral_constant<ActivationFunction, ActivationFunction::GeluNew>{});
    case ActivationFunction::Relu:
      return call(std::integral_constant<ActivationFunction, ActivationFunction::Relu>{});
    case ActivationFunction::Silu:
      return call(std::integral_constant<ActivationFunction, ActivationFunction::Silu>{});
    case ActivationFunction::Tanh:
      return call(std::integral_constant<ActivationFunction, ActivationFunction::Tanh>{});
  }
}

}  // namespace tesserae
