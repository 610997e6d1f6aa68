#include "compiler/plan.h"

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/compile.h"
#include "compiler/options.h"
#include "compiler/products.h"
#include "runtime/chips.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

// Memory of a CUDA process besides its arenas, measured on an H100 (driver 580) and assumed for other chips:
// the context with the code of our kernels; cuBLASLt; the CUDA graphs of a step, the same for 228 calls and
// for 409.
constexpr int64_t kContextBytes = int64_t{525} << 20, kCublasLtBytes = int64_t{2} << 20,
                  kGraphBytes = int64_t{2} << 20;

constexpr int kThreads = 2;  // of a CPU: some of its kernels have a workspace for each

struct Roofline {
  double seconds;
  bool compute;
};

Roofline roofline(const Call& call, const Chip& chip, Precision precision) {
  const double arithmetic =
      call.cost.matrixFlops / chip.matrixRate(precision) + call.cost.vectorFlops / chip.vector;
  const double traffic = static_cast<double>(call.bytes) / chip.bandwidth;
  return {std::max(arithmetic, traffic), arithmetic > traffic};
}

class Planner {
 public:
  Planner(std::string_view graphText, std::string_view requestText)
      : request_(parseJson(requestText, "the plan's request")) {
    onlyKeys(request_, "plan",
             {"precision", "chip", "rows", "lengths", "gradientAccumulationSteps", "memory", "padding",
              "optimizer", "emaDecay", "frozen", "labelSmoothing", "products"});
    chip_ = &findChip(request_.contains("chip") ? textField(request_, "chip", "plan") : "cpu");
    precision_ = request_.contains("precision") ? parsePrecision(textField(request_, "precision", "plan"))
                                                : (chip_->cuda ? Precision::BF16 : Precision::FP32);
    if (!chip_->cuda && precision_ != Precision::FP32) {
      fail(ErrorCode::Device, "the CPU computes in fp32; precision '%s' needs a GPU",
           precisionName(precision_));
    }
    capacity_ = parseCapacity(request_, "plan");
    if (request_.contains("gradientAccumulationSteps")) {
      accumulation_ = integerField(request_, "gradientAccumulationSteps", "plan", 1, 1 << 20);
    }
    memory_ = request_.contains("memory") ? numberField(request_, "memory", "plan") : chip_->memory;
    if (!(memory_ >= 0 && memory_ <= 9e15))
      fail(ErrorCode::Config, "plan.memory is %g bytes; it must be from 0 to 9e15", memory_);
    if (request_.contains("optimizer"))
      optimizer_ = parseOptimizer(objectField(request_, "optimizer", "plan"), "plan.optimizer");
    if (request_.contains("emaDecay")) emaDecay_ = numberField(request_, "emaDecay", "plan");
    if (request_.contains("labelSmoothing"))
      labelSmoothing_ = numberField(request_, "labelSmoothing", "plan");
    padding_ = PaddingOption::parse(request_);
    policy_ = padding_.policy(chip_->target(precision_, kThreads));
    graph_ = parseGraph(graphText, policy_);
    layout_ = makeLayout(graph_);
    if (request_.contains("frozen")) {
      for (const Json& name : arrayField(request_, "frozen", "plan", layout_.slots.size())) {
        if (!name.is_string() || !layout_.find(name.get<std::string>()))
          fail(ErrorCode::Config, "plan.frozen must hold names of parameters, not %.100s",
               name.dump().c_str());
        frozen_.insert(name.get<std::string>());
      }
    }
  }

  std::string json() {
    chooser_ = Chooser(chip_->target(precision_, kThreads), parseTunedProducts(request_, "plan"));
    const Program micro = compileMicro(), update = compileUpdate();
    Json out;
    out["chip"] = chip_->name;
    out["chipDescription"] = chip_->description;
    out["precision"] = precisionName(precision_);
    out["rows"] = capacity_.rows;
    out["lengths"] = capacity_.lengths;
    out["gradientAccumulationSteps"] = accumulation_;
    out["layoutHash"] = hexHash(layout_.hash);
    out["parameters"] = parameters();
    out["calls"] = Json::array();
    double seconds = 0;
    for (const Call& call : micro.calls) {
      out["calls"].push_back(describe("micro", micro, call));
      seconds += accumulation_ * tesserae::roofline(call, *chip_, precision_).seconds;
    }
    for (const Call& call : update.calls) {
      out["calls"].push_back(describe("update", update, call));
      seconds += tesserae::roofline(call, *chip_, precision_).seconds;
    }
    const std::vector<MemoryOwner> driver = driverMemory();
    std::vector<MemoryOwner> owners = trainingMemory(layout_, micro, update);
    owners.insert(owners.end(), driver.begin(), driver.end());
    for (const MemoryOwner& owner : owners)
      out["memory"].push_back({{"owner", owner.name}, {"bytes", owner.bytes}});
    out["totalBytes"] = totalBytes(owners);
    out["paddingPolicy"] = paddingPolicy();
    out["padding"] = padding();
    out["stepSeconds"] = seconds;
    out["tokensPerSecond"] = accumulation_ * targetsOf(micro) / seconds;
    const int64_t available = static_cast<int64_t>(memory_) - totalBytes(driver);
    out["largestBatch"] = {{"memoryBytes", memory_},
                           {"rows", largestRows(graph_, layout_, micro, update, available)}};
    return out.dump();
  }

 private:
  // Of the loss that is reported: a token of a step is one that it predicts.
  double targetsOf(const Program& micro) const {
    const std::string& targets = graph_.findNode(graph_.losses.at(0).value)->inputs.at("targets");
    return static_cast<double>(micro.values[micro.inputs.at(targets)].spec.logicalElements());
  }

  Program compileMicro() {
    TrainRequest request;
    request.capacity = capacity_;
    request.frozen = frozen_;
    request.labelSmoothing = labelSmoothing_;
    return compile(graph_, layout_, chooser_, request);
  }

  Program compileUpdate() {
    UpdateRequest request;
    request.optimizer = optimizer_.name;
    request.optimizerAttributes = optimizer_.attributes;
    request.emaDecay = emaDecay_;
    if (precision_ == Precision::FP16)
      request.lossScaleAttributes = {
          {"growthFactor", 2.0}, {"backoffFactor", 0.5}, {"growthInterval", int64_t{2000}}};
    request.maxGradNorm = 1;
    return compile(graph_, layout_, chooser_, request);
  }

  // The memory of a training process besides its arenas; the libraries of a CPU take almost none.
  std::vector<MemoryOwner> driverMemory() const {
    if (!chip_->cuda) return {};
    return {{"context", kContextBytes}, {"cublasLt", kCublasLtBytes}, {"graphs", kGraphBytes}};
  }

  Json parameters() const {
    int64_t count = 0, physical = 0;
    for (const ParameterSlot& slot : layout_.slots) {
      if (!slot.parameter->saved) continue;
      count += slot.spec.logicalElements();
      physical += slot.spec.physicalElements();
    }
    return {{"count", count},
            {"logicalBytes", count * 4},
            {"physicalBytes", physical * 4},
            {"flatBytes", layout_.elements * 4}};
  }

  Json tensors(const Program& program, const std::vector<std::string>& slots,
               const std::vector<ValueId>& ids) const {
    Json list = Json::array();
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] == kAbsent) continue;
      const Value& value = program.values[ids[i]];
      std::string shape = value.spec.describe();
      shape.resize(shape.rfind(' '));  // the type is printed next to it
      list.push_back({{"slot", slotName(slots[i])},
                      {"value", value.name},
                      {"shape", shape},
                      {"dtype", dtypeName(value.spec.dtype)},
                      {"owner", arenaName(value.arena)},
                      {"bytes", value.spec.bytes()}});
    }
    return list;
  }

  // What was chosen, as users read it. cuBLASLt has an algorithm only once it is asked on the device.
  static std::string kernelOf(const Call& call) {
    std::vector<std::string> names;
    const std::string& kernel = call.choice.kernel;
    if (const size_t slash = kernel.find('/'); slash != std::string::npos) {
      names.push_back(kernel.substr(slash + 1));
    } else if (kernel != call.op->name) {
      names.push_back(kernel);
    }
    std::set<std::string, std::greater<>> products;
    bool isLibrarysChoice = false;
    for (const GemmChoice& product : call.choice.products) {
      products.insert(candidateName(product.candidate()));
      if (product.candidate() == GemmCandidate{GemmKernel::CublasLt}) isLibrarysChoice = true;
    }
    names.insert(names.end(), products.begin(), products.end());
    if (isLibrarysChoice) names.push_back("chosen on the device");
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
  }

  Json products(const Call& call) const {
    Json list = Json::array();
    for (const GemmChoice& product : call.choice.products) {
      Json json = productJson(product.problem);
      json["kernel"] = candidateName(product.candidate());
      json["source"] = sourceName(product.source);
      json["runs"] = product.runs;
      if (product.seconds > 0) json["expectedSeconds"] = product.seconds;
      if (!product.unavailable.empty()) json["unavailable"] = product.unavailable;
      json["rooflineSeconds"] = roofline(product.problem);
      list.push_back(std::move(json));
    }
    return list;
  }

  // Each matrix is read or written once.
  double roofline(const GemmProblem& p) const {
    using Kind = GemmPiece::Kind;
    const auto of = [](int64_t rows, int64_t columns, DType type) {
      return static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(dtypeSize(type));
    };
    const bool hasAux = p.has(Kind::KeepInput) || p.has(Kind::Slope);
    const double bytes =
        of(p.m, p.k, p.type) + of(p.k, p.n, p.type) + of(p.m, p.n, p.result) * (hasAux ? 2 : 1);
    const double flops = 2.0 * of(p.m, p.n, DType::U8) * static_cast<double>(p.k);
    return std::max(flops / chip_->matrixRate(precision_), bytes / chip_->bandwidth);
  }

  Json describe(const char* section, const Program& program, const Call& call) const {
    const Roofline line = tesserae::roofline(call, *chip_, precision_);
    return {{"section", section},
            {"name", call.name},
            {"operation", call.op->name},
            {"inputs", tensors(program, call.op->inputs, call.inputs)},
            {"outputs", tensors(program, call.op->outputs, call.outputs)},
            {"matrixFlops", call.cost.matrixFlops},
            {"vectorFlops", call.cost.vectorFlops},
            {"bytes", call.bytes},
            {"kernel", kernelOf(call)},
            {"products", products(call)},
            {"scratchBytes", call.scratchBytes},
            {"seconds", line.seconds},
            {"bound", line.compute ? "compute" : "memory"}};
  }

  Json paddingPolicy() const {
    const bool byChip = padding_.name() == "chip";
    return {{"name", padding_.name()},
            {"vocabulary", policy_.vocabulary},
            {"width", policy_.width},
            {"head", policy_.head},
            {"why", byChip ? "rows are whole cache lines of the chip; heads stay at 8, because attention's "
                             "kernels fill the rest of a tile themselves"
                           : "the same on every device and in every precision"}};
  }

  Json padding() const {
    Json list = Json::array();
    for (const Axis& axis : graph_.axes) {
      for (const Factor& factor : axis.factors) {
        if (factor.logical == factor.physical) continue;
        list.push_back({{"axis", axis.name},
                        {"role", roleName(factor.role)},
                        {"logical", factor.logical},
                        {"physical", factor.physical},
                        {"why", whyPadded(factor.role)},
                        {"buys", whatPaddingBuys(factor.role)}});
      }
    }
    return list;
  }

  std::string whyPadded(FactorRole role) const {
    const int64_t multiple = policy_.multipleOf(role);
    const std::string text = "a multiple of " + std::to_string(multiple);
    if (role == FactorRole::Vocabulary) return text + " gives matrix units whole tiles";
    const bool byChip = padding_.name() == "chip" && role == FactorRole::Width;
    const int64_t bytes = byChip ? dtypeSize(activationType(precision_)) : 2;
    return text + " keeps each row of " + std::to_string(8 * bytes) + "-bit numbers at a multiple of " +
           std::to_string(multiple * bytes) + " bytes";
  }

  // Measured with fp16 products on an H100 (16,384 rows): 545 columns ran at 80 TFLOP/s and 552 at 343; a
  // vocabulary of 50,257 at 87 and 50,264 at 635. Nothing was measured elsewhere or with other multiples.
  const char* whatPaddingBuys(FactorRole role) const {
    const bool measured = std::string_view(chip_->name) == "h100" && activationType(precision_) != DType::F32;
    const PaddingPolicy standard;
    if (measured && policy_.multipleOf(role) == standard.multipleOf(role)) {
      if (role == FactorRole::Vocabulary)
        return "7.3 times the rate of a product with 50,257 columns (H100, fp16, measured)";
      if (role == FactorRole::Width)
        return "4.3 times the rate of a product with 545 columns (H100, fp16, measured)";
    }
    return "not measured on this chip in this precision";
  }

  Json request_;
  const Chip* chip_;
  Precision precision_;
  Chooser chooser_{Target{}};
  Capacity capacity_;
  int64_t accumulation_ = 1;
  double memory_, emaDecay_ = 0, labelSmoothing_ = 0;
  OptimizerOptions optimizer_{"adamw", {{"beta1", 0.9}, {"beta2", 0.95}, {"epsilon", 1e-8}}, 0.1};
  PaddingOption padding_;
  PaddingPolicy policy_;
  Graph graph_;
  Layout layout_;
  std::set<std::string> frozen_;
};

}  // namespace

std::string planJson(std::string_view graphText, std::string_view requestText) {
  return Planner(graphText, requestText).json();
}

}  // namespace tesserae
