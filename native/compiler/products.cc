#include "compiler/products.h"

#include <algorithm>
#include <vector>

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

bool hasFunction(Kind kind) { return kind == Kind::Activation || kind == Kind::Slope; }

GemmPiece parsePiece(const Json& json) {
  onlyKeys(json, "product.pieces", {"kind", "function"});
  const std::string name = textField(json, "kind", "product.pieces");
  const auto known = std::find(std::begin(kPieces), std::end(kPieces), name);
  if (known == std::end(kPieces)) {
    fail(ErrorCode::Config,
         "product.pieces has a kind '%.100s'; it must be bias, activation, keepInput, slope, columnSums, "
         "rowScale or exponentials",
         name.c_str());
  }
  GemmPiece piece{static_cast<Kind>(known - std::begin(kPieces))};
  if (hasFunction(piece.kind)) {
    piece.function = parseActivation(textField(json, "function", "product.pieces").c_str());
  } else if (json.contains("function")) {
    fail(ErrorCode::Config, "product.pieces: '%s' has no function", name.c_str());
  }
  return piece;
}

// Contracts list a bias, what is kept, and an activation, or exponentials, in the forward pass; a slope and
// column sums, or a row scale, in the gradient of the input; nothing in the gradient of the weight.
void requirePieces(const GemmProblem& problem) {
  std::vector<Kind> order;
  if (problem.transB) order = {Kind::Bias, Kind::KeepInput, Kind::Activation, Kind::Exponentials};
  if (!problem.transA && !problem.transB) order = {Kind::Slope, Kind::ColumnSums, Kind::RowScale};
  auto next = order.begin();
  for (const GemmPiece& piece : problem.epilogue) {
    next = std::find(next, order.end(), piece.kind);
    if (next == order.end()) {
      fail(ErrorCode::Config,
           "product.pieces: '%s' can't be there; forward takes bias, keepInput, activation and exponentials "
           "in this order, inputGradient takes slope, columnSums and rowScale, weightGradient takes none",
           kPieces[static_cast<int>(piece.kind)]);
    }
    ++next;
  }
  if (problem.has(Kind::KeepInput) && !problem.has(Kind::Activation))
    fail(ErrorCode::Config, "product.pieces: keepInput needs the activation whose input it keeps");
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
  GemmProblem& problem = parsed.problem;
  const std::string name = textField(request, "layout", "product");
  const auto layout = std::find_if(std::begin(kLayouts), std::end(kLayouts),
                                   [&](const Layout& one) { return name == one.name; });
  if (layout == std::end(kLayouts)) {
    fail(ErrorCode::Config, "product.layout is '%.100s'; it must be forward, inputGradient or weightGradient",
         name.c_str());
  }
  problem.transA = layout->transA;
  problem.transB = layout->transB;
  problem.m = integerField(request, "m", "product", 1, kMostExtent);
  problem.n = integerField(request, "n", "product", 1, kMostExtent);
  problem.k = integerField(request, "k", "product", 1, kMostExtent);
  problem.type = activationType(parsed.precision);
  problem.result = parseDType(textField(request, "result", "product"));
  if (problem.result != problem.type && problem.result != DType::F32) {
    fail(ErrorCode::Config, "product.result is %s; in %s it must be %s or float32", dtypeName(problem.result),
         precisionName(parsed.precision), dtypeName(problem.type));
  }
  for (const Json& piece : arrayField(request, "pieces", "product", 3))
    problem.epilogue.push_back(parsePiece(piece));
  requirePieces(problem);
  parsed.accumulate = flagField(request, "accumulate", "product", false);
  if (parsed.accumulate && !problem.transA)
    fail(ErrorCode::Config, "product.accumulate is for the gradient of a weight; no other product adds to C");
  parsed.rounds = static_cast<int>(integerField(request, "rounds", "product", 1, 1000));
  return parsed;
}

}  // namespace tesserae
