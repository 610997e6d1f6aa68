#include "compiler/chooser.h"

#include <algorithm>
#include <utility>

#ifdef TESSERAE_CUDA
#include "ops/gemm/cublaslt.h"
#include "runtime/cuda/cublaslt.h"
#endif

namespace tesserae {

namespace {

double flopsOf(const GemmProblem& p) {
  return 2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k);
}

}  // namespace

Chooser::Chooser(const Target& target, std::vector<TunedProduct> table)
    : target_(target), table_(std::move(table)) {}

Chooser Chooser::forDevice(const Target& target, std::vector<TunedProduct> table) {
  Chooser chooser(target, std::move(table));
  chooser.onDevice_ = true;
  return chooser;
}

std::optional<KernelChoice> Chooser::choose(const Operation& operation, const CallShape& shape) {
  if (!operation.choose) return KernelChoice{operation.name};
  std::optional<KernelChoice> choice = operation.choose(shape, target_);
  if (!choice) return choice;
  for (GemmChoice& product : choice->products) {
    std::optional<GemmChoice> chosen = chooseProduct(product.problem);
    if (!chosen) return std::nullopt;
    chosen->runs = product.runs;
    product = std::move(*chosen);
  }
  return choice;
}

std::vector<GemmChoice> Chooser::chosen() const {
  std::vector<GemmChoice> choices;
  for (const auto& [problem, choice] : chosen_) {
    if (choice) choices.push_back(*choice);
  }
  return choices;
}

int64_t Chooser::library() const {
#ifdef TESSERAE_CUDA
  if (onDevice_ && target_.cublasLt) return static_cast<int64_t>(cublasLt()->version());
#endif
  return 0;
}

std::vector<TunedProduct> Chooser::restore(std::vector<TunedProduct> entries) {
  std::erase_if(table_, [](const TunedProduct& one) { return one.source == ChoiceSource::Checkpoint; });
  chosen_.clear();
  std::vector<TunedProduct> unusable;
  for (const TunedProduct& entry : entries) {
    table_.push_back(entry);
    const std::optional<GemmChoice> choice = chooseAnew(entry.problem);
    const bool isUsed = choice && choice->source == ChoiceSource::Checkpoint;
    if (!isUsed || entry.precision != target_.precision) unusable.push_back(entry);
  }
  return unusable;
}

std::optional<GemmChoice> Chooser::chooseProduct(const GemmProblem& problem) {
  const auto known =
      std::find_if(chosen_.begin(), chosen_.end(), [&](const auto& entry) { return entry.first == problem; });
  if (known != chosen_.end()) return known->second;
  return chosen_.emplace_back(problem, chooseAnew(problem)).second;
}

// By the entry of the table; without one, or where it can't be used, the first kernel that there is.
std::optional<GemmChoice> Chooser::chooseAnew(const GemmProblem& problem) {
  std::string unavailable;
  if (const TunedProduct* const entry = findTuned(table_, problem, target_.precision, library())) {
    const bool isExact = entry->problem == problem;
    std::optional<GemmCandidate> candidate = entry->candidate;
    // Another product has another list of algorithms.
    const bool isRanked = candidate && candidate->algorithm > 0;
    if (isRanked && !isExact) candidate->algorithm = 0;
    GemmChoice choice{.problem = problem, .kernel = candidate ? candidate->kernel : GemmKernel::Plain};
    if (candidate) choice.algorithm = candidate->algorithm;
    choice.source = entry->source;
    if (isExact || !isRanked) choice.seconds = entry->seconds * flopsOf(problem) / flopsOf(entry->problem);
    if (candidate && isPossible(problem, *candidate) && prepare(choice)) return choice;
    unavailable = entry->kernel;
  }
  for (GemmKernel kernel : gemmKernels(problem, target_)) {
    GemmChoice choice{problem, kernel};
    choice.unavailable = unavailable;
    if (prepare(choice)) return choice;
  }
  return std::nullopt;
}

// As far as tables say it.
bool Chooser::isPossible(const GemmProblem& problem, const GemmCandidate& candidate) const {
  const std::vector<GemmCandidate> candidates = gemmCandidates(problem, target_);
  return std::any_of(candidates.begin(), candidates.end(), [&](const GemmCandidate& one) {
    return one.kernel == candidate.kernel &&
           (candidate.algorithm == 0 || one.algorithm == candidate.algorithm);
  });
}

// Has the library's algorithm at hand; false where it has none.
bool Chooser::prepare([[maybe_unused]] GemmChoice& choice) const {
#ifdef TESSERAE_CUDA
  if (!onDevice_ || choice.kernel != GemmKernel::CublasLt) return true;
  const int most = choice.algorithm > 0 ? kMostAlgorithms : 1;
  const size_t index = static_cast<size_t>(std::max(choice.algorithm, 1)) - 1;
  const auto products = libraryProducts(choice.problem, target_.precision, most);
  if (index < products.size()) choice.library = products[index];
  return choice.library != nullptr;
#else
  return true;
#endif
}

}  // namespace tesserae
