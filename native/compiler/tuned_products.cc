#include "compiler/tuned_products.h"

#include <cmath>
#include <tuple>

namespace tesserae {

namespace {

constexpr double kMostWeightDistance = 0.25, kMostRowDistance = 0.5;  // octaves of an extent

double octaves(int64_t a, int64_t b) {
  return std::abs(std::log2(static_cast<double>(a) / static_cast<double>(b)));
}

struct Distance {
  double weight;  // the sum over both extents
  double rows;
};

// Nothing when the entry does not apply.
std::optional<Distance> distanceOf(const TunedProduct& entry, const GemmProblem& problem) {
  const GemmProblem& measured = entry.problem;
  GemmProblem same = measured;
  same.m = problem.m, same.n = problem.n, same.k = problem.k;
  if (same != problem) return std::nullopt;
  // The gradient of a weight is as large as the weight; its sums run over the rows.
  const double m = octaves(measured.m, problem.m), n = octaves(measured.n, problem.n),
               k = octaves(measured.k, problem.k);
  const double rows = problem.transA ? k : m, other = problem.transA ? m : k;
  if (n > kMostWeightDistance || other > kMostWeightDistance || rows > kMostRowDistance) return std::nullopt;
  if (entry.source == ChoiceSource::Checkpoint && n + other + rows > 0) return std::nullopt;
  return Distance{n + other, rows};
}

}  // namespace

const TunedProduct* findTuned(const std::vector<TunedProduct>& table, const GemmProblem& problem,
                              Precision precision, int64_t library) {
  if (problem.rowInvariant) return nullptr;
  const TunedProduct* best = nullptr;
  std::tuple<double, double, int, bool> bestRank;
  for (const TunedProduct& entry : table) {
    if (entry.precision != precision) continue;
    const bool otherLibrary = library != 0 && entry.library != library;
    if (otherLibrary && entry.candidate && entry.candidate->kernel == GemmKernel::CublasLt) continue;
    const std::optional<Distance> distance = distanceOf(entry, problem);
    if (!distance) continue;
    const std::tuple<double, double, int, bool> rank{distance->weight, distance->rows,
                                                     -static_cast<int>(entry.source), otherLibrary};
    if (!best || rank < bestRank) {
      best = &entry;
      bestRank = rank;
    }
  }
  return best;
}

}  // namespace tesserae
