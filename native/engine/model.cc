#include "engine/model.h"

#include <utility>

#include "compiler/options.h"
#include "compiler/products.h"
#include "engine/loss_divisors.h"
#include "ops/registry.h"
#include "runtime/error.h"

namespace tesserae {

Model::Model(std::string_view graphText, const ModelOptions& options, std::shared_ptr<Device> device,
             std::shared_ptr<ProcessGroup> group)
    : options_(options),
      device_(std::move(device)),
      group_(std::move(group)),
      graph_(
          parseGraph(graphText, options.padding.policy(device_->target(options.precision, options.threads)))),
      layout_(makeLayout(graph_)),
      chooser_(Chooser::forDevice(device_->target(options_.precision, options_.threads), options_.products)),
      state_(layout_, options_, *device_),
      programs_(graph_, layout_, chooser_, *device_, options_.threads, group_.get()),
      training_(graph_, state_, programs_, *device_, options_.threads, group_.get()) {}

SessionArenas Model::takeSpare() { return std::exchange(spare_, {}); }

RunResult Model::run(DeviceContext& context, const ProgramRequest& request, const HostBatch& batch,
                     const RunOptions& options) {
  ProgramRequest asked = request;
  auto* train = std::get_if<TrainRequest>(&asked);
  if (!train && !std::holds_alternative<EvalRequest>(asked))
    fail(ErrorCode::Config, "prefill and decode run in a sampling session");
  if (train) train->frozen = training_.frozen();  // their gradients stay zero for the next step
  const Program& compiled = programs_.find(asked).program;
  checkBatch(compiled, graph_, batch);  // before memory is taken for what the request merely says
  if (train) state_.allocate(Arena::Gradients, layout_.elements * 4);
  Bases bases = state_.bases();
  prepare(context, compiled, bases);
  upload(*device_, compiled, batch, bases);
  if (train) training_.setDivisors(lossDivisors(graph_, countTargets(graph_, {batch})));
  state_.write(&StepState::counters, &Counters::firstSample, int64_t{0});
  RunResult result;
  const std::unique_ptr<Stopwatch> stopwatch = options.timing ? device_->stopwatch() : nullptr;
  execute(*device_, compiled, bases, options_.threads, false, options,
          {options.tap ? &result.taps : nullptr, stopwatch.get()});
  if (stopwatch) result.timings = timingsOf(compiled, *stopwatch);
  for (const auto& [role, id] : compiled.outputs)
    result.outputs[role] = download(*device_, compiled.values[id], bases);
  return result;
}

std::string Model::productsJson() const {
  Json list = Json::array();
  for (const GemmChoice& choice : chooser_.chosen()) {
    if (choice.problem.rowInvariant) continue;
    list.push_back(productJson(choice.problem));
    list.back()["kernel"] = candidateName(choice.candidate());
    list.back()["source"] = sourceName(choice.source);
  }
  Json json = {{"products", list}};
  if (const int64_t library = chooser_.library()) json["library"] = library;
  return json.dump();
}

std::string Model::restoreProducts(std::string_view text) {
  const Json json = parseJson(text, "the products of a checkpoint");
  onlyKeys(json, "checkpoint", {"products"});
  const std::vector<TunedProduct> entries = parseTunedProducts(json, "checkpoint");
  programs_.clear();
  Json unusable = Json::array();
  for (const TunedProduct& entry : chooser_.restore(entries)) {
    unusable.push_back(productJson(entry.problem));
    unusable.back()["kernel"] = entry.kernel;
  }
  return unusable.dump();
}

std::string Model::infoJson() const {
  static const char* const isas[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
  Json info = {{"device", options_.device},
               {"precision", precisionName(options_.precision)},
               {"layoutHash", hexHash(layout_.hash)},
               {"threads", options_.threads},
               {"isa", isas[static_cast<int>(cpuIsa())]},
               {"arithmetic", device_->arithmetic()},
               {"parameters", Json::array()}};
  for (const GraphParameter& parameter : graph_.parameters) {
    Json shape = Json::array(), physical = Json::array();
    for (const Axis& axis : parameter.axes) {
      shape.push_back(axis.logical());
      physical.push_back(axis.physical());
    }
    info["parameters"].push_back({{"name", parameter.name}, {"shape", shape}, {"physicalShape", physical}});
  }
  return info.dump();
}

}  // namespace tesserae
