#include "runtime/axis.h"

#include <cstring>

#include "runtime/error.h"

namespace tesserae {

namespace {
const char* const kRoles[] = {"count", "width", "head", "vocabulary", "batch", "length"};

std::vector<Factor> flatten(const Axes& axes) {
  std::vector<Factor> factors;
  for (const Axis& axis : axes) factors.insert(factors.end(), axis.factors.begin(), axis.factors.end());
  return factors;
}

// Calls move(logicalOffset, physicalOffset, elements) for each run of elements that is dense in both orders.
template <class Move>
void forEachRun(const TensorSpec& spec, Move move) {
  std::vector<Factor> factors = flatten(spec.axes);
  // Trailing factors without padding form one dense run together with the factor before them.
  int64_t run = 1;
  while (!factors.empty() && factors.back().logical == factors.back().physical) {
    run *= factors.back().logical;
    factors.pop_back();
  }
  int64_t runStride = run;
  if (!factors.empty()) {
    runStride = run * factors.back().physical;
    run *= factors.back().logical;
    factors.pop_back();
  }
  int64_t rows = 1;
  for (const Factor& f : factors) rows *= f.logical;
  std::vector<int64_t> index(factors.size(), 0);
  for (int64_t row = 0; row < rows; ++row) {
    int64_t physicalRow = 0;
    for (size_t i = 0; i < factors.size(); ++i) physicalRow = physicalRow * factors[i].physical + index[i];
    move(row * run, physicalRow * runStride, run);
    for (size_t i = factors.size(); i-- > 0;) {
      if (++index[i] < factors[i].logical) break;
      index[i] = 0;
    }
  }
}
}  // namespace

FactorRole parseRole(const std::string& name) {
  for (int i = 0; i < 6; ++i) {
    if (name == kRoles[i]) return static_cast<FactorRole>(i);
  }
  fail(ErrorCode::Config, "unknown factor role '%s'", name.c_str());
}

const char* roleName(FactorRole role) { return kRoles[static_cast<int>(role)]; }

int64_t Axis::logical() const {
  int64_t n = 1;
  for (const Factor& f : factors) n *= f.logical;
  return n;
}

int64_t Axis::physical() const {
  int64_t n = 1;
  for (const Factor& f : factors) n *= f.physical;
  return n;
}

bool fits(const Axes& a, const Axes& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i].fits(b[i])) return false;
  }
  return true;
}

Axis countAxis(const std::string& name, int64_t extent) {
  return {name, {{extent, extent, FactorRole::Count}}};
}

int64_t TensorSpec::logicalElements() const {
  int64_t n = 1;
  for (const Axis& axis : axes) n *= axis.logical();
  return n;
}

int64_t TensorSpec::physicalElements() const {
  int64_t n = 1;
  for (const Axis& axis : axes) n *= axis.physical();
  return n;
}

std::string TensorSpec::describe() const {
  std::string text;
  for (const Axis& axis : axes) {
    if (!text.empty()) text += " × ";
    text += axis.name + " " + std::to_string(axis.logical());
    if (axis.physical() != axis.logical()) text += "→" + std::to_string(axis.physical());
  }
  return text + " " + dtypeName(dtype);
}

void pack(const TensorSpec& spec, int64_t elementBytes, const void* logical, void* physical) {
  forEachRun(spec, [&](int64_t from, int64_t to, int64_t n) {
    std::memcpy(static_cast<char*>(physical) + to * elementBytes,
                static_cast<const char*>(logical) + from * elementBytes,
                static_cast<size_t>(n * elementBytes));
  });
}

void unpack(const TensorSpec& spec, int64_t elementBytes, const void* physical, void* logical) {
  forEachRun(spec, [&](int64_t to, int64_t from, int64_t n) {
    std::memcpy(static_cast<char*>(logical) + to * elementBytes,
                static_cast<const char*>(physical) + from * elementBytes,
                static_cast<size_t>(n * elementBytes));
  });
}

}  // namespace tesserae
