#include "compiler/plan.h"

#include <algorithm>
#include <cmath>

#include "compiler/compile.h"
#include "compiler/options.h"
#include "runtime/chips.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

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
             {"precision", "chip", "rows", "time", "gradientAccumulationSteps", "memory", "padding",
              "labelSmoothing"});
    chip_ = &findChip(request_.contains("chip") ? textField(request_, "chip", "plan") : "cpu");
    precision_ = request_.contains("precision") ? parsePrecision(textField(request_, "precision", "plan"))
                                                : (chip_->cuda ? Precision::BF16 : Precision::FP32);
    device_ = chip_->cuda ? DeviceKind::CUDA : DeviceKind::CPU;
    rows_ = integerField(request_, "rows", "plan", 1, 1 << 24);
    time_ = integerField(request_, "time", "plan", 1, 1 << 24);
    if (request_.contains("gradientAccumulationSteps")) {
      accumulation_ = integerField(request_, "gradientAccumulationSteps", "plan", 1, 1 << 20);
    }
    memory_ = request_.contains("memory") ? numberField(request_, "memory", "plan") : chip_->memory;
    graph_ = parseGraph(graphText, parsePadding(request_));
    layout_ = makeLayout(graph_);
  }

  std::string json() {
    const Program micro = compileMicro(rows_), update = compileUpdate();
    Json out;
    out["chip"] = chip_->name;
    out["chipDescription"] = chip_->description;
    out["precision"] = precisionName(precision_);
    out["rows"] = rows_;
    out["time"] = time_;
    out["gradientAccumulationSteps"] = accumulation_;
    out["layoutHash"] = hexHash(layout_.hash);
    out["parameters"] = parameters();
    out["calls"] = Json::array();
    double seconds = 0;
    for (const Call& call : micro.calls) {
      out["calls"].push_back(describe("micro", micro, call));
      seconds += accumulation_ * roofline(call, *chip_, precision_).seconds;
    }
    for (const Call& call : update.calls) {
      out["calls"].push_back(describe("update", update, call));
      seconds += roofline(call, *chip_, precision_).seconds;
    }
    const std::vector<std::pair<const char*, int64_t>> owners = memory(micro, update);
    int64_t total = 0;
    for (const auto& [owner, bytes] : owners) {
      out["memory"].push_back({{"owner", owner}, {"bytes", bytes}});
      total += bytes;
    }
    out["totalBytes"] = total;
    out["padding"] = padding();
    out["stepSeconds"] = seconds;
    out["tokensPerSecond"] = static_cast<double>(rows_ * time_ * accumulation_) / seconds;
    out["largestBatch"] = {{"memoryBytes", memory_}, {"rows", largestBatch(update)}};
    return out.dump();
  }

 private:
  Program compileMicro(int64_t rows) const {
    ProgramRequest request;
    request.mode = Mode::Train;
    request.rows = rows;
    request.time = time_;
    return compile(graph_, layout_, precision_, device_, 2, request);
  }

  Program compileUpdate() const {
    ProgramRequest request;
    request.mode = Mode::Update;
    request.optimizer = "adamw";
    request.optimizerAttributes = {{"beta1", 0.9}, {"beta2", 0.95}, {"epsilon", 1e-8}, {"weightDecay", 0.1}};
    request.maxGradNorm = 1;
    return compile(graph_, layout_, precision_, device_, 2, request);
  }

  std::vector<std::pair<const char*, int64_t>> memory(const Program& micro, const Program& update) const {
    const int64_t flat = layout_.elements * 4;
    return {{"parameters", flat},
            {"halfCopy", hasHalfCopy(precision_) ? layout_.elements * 2 : 0},
            {"gradients", flat},
            {"moments", 2 * flat},
            {"state", StateLayout(layout_).bytes},
            {"inputs", micro.inputBytes},
            {"workspace", std::max(micro.workspaceBytes, update.workspaceBytes)}};
  }

  // By bisection: memory grows with the rows.
  int64_t largestBatch(const Program& update) const {
    const auto fits = [&](int64_t rows) {
      int64_t total = 0;
      for (const auto& [owner, bytes] : memory(compileMicro(rows), update)) total += bytes;
      return static_cast<double>(total) <= memory_;
    };
    if (!fits(1)) return 0;
    int64_t low = 1, high = 2;
    while (high < (1 << 20) && fits(high)) {
      low = high;
      high *= 2;
    }
    while (high - low > 1) {
      const int64_t middle = (low + high) / 2;
      (fits(middle) ? low : high) = middle;
    }
    return low;
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
      shape.resize(shape.rfind(' '));  // the type stands beside it
      list.push_back({{"slot", slotName(slots[i])},
                      {"value", value.name},
                      {"shape", shape},
                      {"dtype", dtypeName(value.spec.dtype)},
                      {"owner", arenaName(value.arena)},
                      {"bytes", value.spec.bytes()}});
    }
    return list;
  }

  Json describe(const char* section, const Program& program, const Call& call) const {
    const Roofline line = roofline(call, *chip_, precision_);
    return {{"section", section},
            {"name", call.name},
            {"operation", call.op->name},
            {"inputs", tensors(program, call.op->inputs, call.inputs)},
            {"outputs", tensors(program, call.op->outputs, call.outputs)},
            {"matrixFlops", call.cost.matrixFlops},
            {"vectorFlops", call.cost.vectorFlops},
            {"bytes", call.bytes},
            {"scratchBytes", call.scratchBytes},
            {"seconds", line.seconds},
            {"bound", line.compute ? "compute" : "memory"}};
  }

  // What padding buys was measured with fp16 products on an H100 (16,384 rows): 545 columns ran at 80 TFLOP/s
  // and 552 at 343; a vocabulary of 50,257 at 87 and 50,264 at 635.
  Json padding() const {
    Json list = Json::array();
    for (const Axis& axis : graph_.axes) {
      for (const Factor& factor : axis.factors) {
        if (factor.logical == factor.physical) continue;
        const bool vocabulary = factor.role == FactorRole::Vocabulary;
        list.push_back(
            {{"axis", axis.name},
             {"role", roleName(factor.role)},
             {"logical", factor.logical},
             {"physical", factor.physical},
             {"why", vocabulary
                         ? "a multiple of 64 gives matrix units whole tiles"
                         : "a multiple of 8 keeps each row of 16-bit numbers at a multiple of 16 bytes"},
             {"buys", vocabulary
                          ? "7.3 times the rate of a product with 50,257 columns (H100, fp16, measured)"
                          : "4.3 times the rate of a product with 545 columns (H100, fp16, measured)"}});
      }
    }
    return list;
  }

  Json request_;
  const Chip* chip_;
  Precision precision_;
  DeviceKind device_;
  int64_t rows_, time_, accumulation_ = 1;
  double memory_;
  Graph graph_;
  Layout layout_;
};

}  // namespace

std::string planJson(std::string_view graphText, std::string_view requestText) {
  return Planner(graphText, requestText).json();
}

}  // namespace tesserae
