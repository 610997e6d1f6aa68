// Measures the kernels that compute a matrix product, on the device itself.
#pragma once

#include <string>
#include <vector>

#include "ops/gemm/problem.h"
#include "runtime/device.h"

namespace tesserae {

// A way to compute the product, and how long it took.
struct MeasuredProduct {
  std::string name;
  std::vector<double> seconds;  // of one product, by round; empty if it failed
  std::string error;            // why it failed
};

// Measures every candidate on random operands, in rounds in which each candidate has its turn: clocks and
// power are the same for all.
//   CUDA  our kernels of gemmKernels; the plain one only for a small product or if it is the only candidate.
//         cuBLASLt by up to 16 algorithms of its heuristic. Where a function or a slope goes with the
//         product, also cuBLASLt without it and the kernel of the operation `activation` after it. For column
//         sums next to a slope cuBLASLt leaves the sums out.
//   CPU   the kernels of the operation `linear`, whose products are oneDNN's; none for pieces that only a GPU
//         has.
// `accumulate`: adds to C, as weight gradients do. Operands that fit into a cache stay there from one product
// to the next. A candidate whose first launch fails is left out of the rounds. Runs on the device's thread;
// throws ERR_OUT_OF_MEMORY and ERR_DEVICE.
std::vector<MeasuredProduct> measureProduct(Device& device, const Target& target, const GemmProblem& problem,
                                            bool accumulate, int rounds);

}  // namespace tesserae
