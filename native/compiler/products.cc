#include "compiler/products.h"

#include <algorithm>
#include <iterator>

#include "runtime/error.h"

namespace tesserae {

namespace {

using Kind = GemmPiece::Kind;

// The products of a linear layer. Its weight is stored (out, in).
struct Layout {
  const char* name;
  bool transA, transB;
};
constexpr Layout kLayouts[] = {
    {"forward", false, true},         // X Wᵀ
    {"inputGradient", false, false},  // dY W
    {"weightGradient", true, false},  // dYᵀ X
};

const char* const kPieces[] = {"bias",       "activation", "keepInput",   "slope",
                               "columnSums", "rowScale",   "exponentials"};  // in the order of Kind

// More bytes than any device has, and few enough that no size overflows.
constexpr int64_t kMostExtent = int64_t{1} << 24;

const char* const kSources[] = {"rule", "shipped", "cache", "checkpoint"};  // in the order of ChoiceSource

// Entries of a table: a model has dozens of products, at some sizes of its batch.
constexpr size_t kMostEntries = 10'000;

bool hasFunction(Kind kind) { return kind == Kind::Activation || kind == Kind::Slope; }

GemmPiece parsePiece(const Json& json, const std::string& where) {
  onlyKeys(json, where, {"kind", "function"});
  const std::string name = textField(json, "kind", where);
  const auto known = std::find(std::begin(kPieces), std::end(kPieces), name);
  if (known == std::end(kPieces)) {
    fail(ErrorCode::Config,
         "%s has a kind '%.100s'; it must be bias, activation, keepInput, slope, columnSums, "
         "rowScale or exponentials",
         where.c_str(), name.c_str());
  }
  GemmPiece piece{static_cast<Kind>(known - std::begin(kPieces))};
  if (hasFunction(piece.kind)) {
    piece.function = parseActivation(textField(json, "function", where).c_str());
  } else if (json.contains("function")) {
    fail(ErrorCode::Config, "%s: '%s' has no function", where.c_str(), name.c_str());
  }
  return piece;
}

// Contracts list a bias, what is kept, and an activation, or exponentials, in the forward pass; a slope and
// column sums, or a row scale, in the gradient of the input; nothing in the gradient of the weight.
void requirePieces(const GemmProblem& problem, const std::string& where) {
  std::vector<Kind> order;
  if (problem.transB) order = {Kind::Bias, Kind::KeepInput, Kind::Activation, Kind::Exponentials};
  if (!problem.transA && !problem.transB) order = {Kind::Slope, Kind::ColumnSums, Kind::RowScale};
  auto next = order.begin();
  for (const GemmPiece& piece : problem.epilogue) {
    next = std::find(next, order.end(), piece.kind);
    if (next == order.end()) {
      fail(ErrorCode::Config,
           "%s: '%s' can't be there; forward takes bias, keepInput, activation and exponentials "
           "in this order, inputGradient takes slope, columnSums and rowScale, weightGradient takes none",
           where.c_str(), kPieces[static_cast<int>(piece.kind)]);
    }
    ++next;
  }
  if (problem.has(Kind::KeepInput) && !problem.has(Kind::Activation))
    fail(ErrorCode::Config, "%s: keepInput needs the activation whose input it keeps", where.c_str());
}

GemmProblem parseProblem(const Json& json, Precision precision, const std::string& where) {
  GemmProblem problem;
  const std::string name = textField(json, "layout", where);
  const auto layout = std::find_if(std::begin(kLayouts), std::end(kLayouts),
                                   [&](const Layout& one) { return name == one.name; });
  if (layout == std::end(kLayouts)) {
    fail(ErrorCode::Config, "%s.layout is '%.100s'; it must be forward, inputGradient or weightGradient",
         where.c_str(), name.c_str());
  }
  problem.transA = layout->transA;
  problem.transB = layout->transB;
  problem.m = integerField(json, "m", where, 1, kMostExtent);
  problem.n = integerField(json, "n", where, 1, kMostExtent);
  problem.k = integerField(json, "k", where, 1, kMostExtent);
  problem.type = activationType(precision);
  problem.result = parseDType(textField(json, "result", where));
  if (problem.result != problem.type && problem.result != DType::F32) {
    fail(ErrorCode::Config, "%s.result is %s; in %s it must be %s or float32", where.c_str(),
         dtypeName(problem.result), precisionName(precision), dtypeName(problem.type));
  }
  for (const Json& piece : arrayField(json, "pieces", where, 3))
    problem.epilogue.push_back(parsePiece(piece, where + ".pieces"));
  requirePieces(problem, where + ".pieces");
  return problem;
}

}  // namespace

Json productJson(const GemmProblem& problem) {
  const auto layout = std::find_if(std::begin(kLayouts), std::end(kLayouts), [&](const Layout& one) {
    return one.transA == problem.transA && one.transB == problem.transB;
  });
  if (layout == std::end(kLayouts)) fail(ErrorCode::Internal, "a product of two transposed matrices");
  Json pieces = Json::array();
  for (const GemmPiece& piece : problem.epilogue) {
    Json json = {{"kind", kPieces[static_cast<int>(piece.kind)]}};
    if (hasFunction(piece.kind)) json["function"] = activationName(piece.function);
    pieces.push_back(std::move(json));
  }
  return {{"layout", layout->name}, {"m", problem.m},   {"n", problem.n},
          {"k", problem.k},         {"pieces", pieces}, {"result", dtypeName(problem.result)}};
}

ProductRequest parseProductRequest(const Json& request) {
  onlyKeys(request, "product",
           {"layout", "m", "n", "k", "pieces", "result", "precision", "accumulate", "rounds"});
  ProductRequest parsed;
  parsed.precision = parsePrecision(textField(request, "precision", "product"));
  parsed.problem = parseProblem(request, parsed.precision, "product");
  parsed.accumulate = flagField(request, "accumulate", "product", false);
  if (parsed.accumulate && !parsed.problem.transA)
    fail(ErrorCode::Config, "product.accumulate is for the gradient of a weight; no other product adds to C");
  parsed.rounds = static_cast<int>(integerField(request, "rounds", "product", 1, 1000));
  return parsed;
}

const char* sourceName(ChoiceSource source) { return kSources[static_cast<int>(source)]; }

std::vector<TunedProduct> parseTunedProducts(const Json& object, const std::string& where) {
  std::vector<TunedProduct> table;
  if (!object.contains("products")) return table;
  const std::string entryPath = where + ".products";
  for (const Json& json : arrayField(object, "products", where, kMostEntries)) {
    onlyKeys(
        json, entryPath,
        {"layout", "m", "n", "k", "pieces", "result", "precision", "kernel", "seconds", "library", "source"});
    TunedProduct entry;
    entry.precision = parsePrecision(textField(json, "precision", entryPath));
    entry.problem = parseProblem(json, entry.precision, entryPath);
    entry.kernel = textField(json, "kernel", entryPath);
    entry.candidate = parseCandidate(entry.kernel);
    entry.seconds = json.contains("seconds") ? numberField(json, "seconds", entryPath) : 0;
    if (!(entry.seconds >= 0 && entry.seconds <= 1e6))
      fail(ErrorCode::Config, "%s.seconds is %g; it must be from 0 to 1e6", entryPath.c_str(), entry.seconds);
    if (json.contains("library"))
      entry.library = integerField(json, "library", entryPath, 1, int64_t{1} << 40);
    const std::string source = textField(json, "source", entryPath);
    const auto known = std::find(std::begin(kSources) + 1, std::end(kSources), source);
    if (known == std::end(kSources)) {
      fail(ErrorCode::Config, "%s.source is '%.100s'; it must be shipped, cache or checkpoint",
           entryPath.c_str(), source.c_str());
    }
    entry.source = static_cast<ChoiceSource>(known - std::begin(kSources));
    table.push_back(std::move(entry));
  }
  return table;
}

}  // namespace tesserae
