#include "compiler/chooser.h"

#include <algorithm>

#ifdef TESSERAE_CUDA
#include "ops/gemm/cublaslt.h"
#endif

namespace tesserae {

Chooser::Chooser(const Target& target) : target_(target) {}

Chooser Chooser::forDevice(const Target& target) {
  Chooser chooser(target);
  chooser.onDevice_ = true;
  return chooser;
}

std::optional<KernelChoice> Chooser::choose(const Operation& operation, const CallShape& shape) {
  if (!operation.choose) return KernelChoice{operation.name};
  std::optional<KernelChoice> choice = operation.choose(shape, target_);
  if (!choice || !onDevice_) return choice;
  for (GemmChoice& product : choice->products) {
    if (!chooseOnDevice(product)) return std::nullopt;
  }
  return choice;
}

// Takes the first kernel that the device has.
bool Chooser::chooseOnDevice([[maybe_unused]] GemmChoice& product) {
#ifdef TESSERAE_CUDA
  for (GemmKernel kernel : gemmKernels(product.problem, target_)) {
    product.kernel = kernel;
    if (kernel != GemmKernel::CublasLt) return true;
    auto known = std::find_if(chosen_.begin(), chosen_.end(),
                              [&](const auto& entry) { return entry.first == product.problem; });
    if (known == chosen_.end()) {
      chosen_.emplace_back(product.problem, chooseLibraryProduct(product.problem, target_.precision));
      known = chosen_.end() - 1;
    }
    product.library = known->second;
    if (product.library) return true;
  }
  return false;
#else
  return true;
#endif
}

}  // namespace tesserae
