#include "ops/choice.h"

namespace tesserae {

std::optional<KernelChoice> chooseProducts(std::string kernel, const std::vector<GemmProblem>& problems,
                                           const Target& target) {
  KernelChoice choice{std::move(kernel)};
  for (const GemmProblem& problem : problems) {
    const std::vector<GemmKernel> kernels = gemmKernels(problem, target);
    if (kernels.empty()) return std::nullopt;
    choice.products.push_back({problem, kernels.front()});
  }
  return choice;
}

}  // namespace tesserae
