// The functions that lib/native.ts calls: arguments are checked and copied here, work runs on the engine
// thread.
#include "binding/arguments.h"
#include "binding/environment.h"
#include "comm/process_group.h"
#include "compiler/plan.h"
#include "compiler/products.h"
#include "engine/model_options.h"
#include "engine/session.h"
#include "ops/gemm/measure.h"
#include "ops/sampling.h"
#include "runtime/chips.h"
#include "runtime/devices.h"
#include "runtime/error.h"
#include "runtime/system.h"
#include "runtime/threads.h"

namespace tesserae {

namespace {

// A model on one of the devices that train it.
struct Rank {
  std::shared_ptr<Model> model;
  std::string device;
};

// What JavaScript holds: empty after dispose.
struct ModelHandle {
  std::vector<Rank> ranks;
  std::shared_ptr<Usage> usage = std::make_shared<Usage>();
  int64_t bytes = 0;  // that the garbage collector was told of
};
struct SessionHandle {
  std::shared_ptr<Session> session;
  std::string device;
  std::shared_ptr<Usage> usage;  // the model's: its State is used by both
};

constexpr napi_type_tag kModelTag = {0x7465737365726165, 1}, kSessionTag = {0x7465737365726165, 2};

constexpr int kMostRanks = 64;  // of a process

Environment& environment(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

template <class Handle>
Handle& handleOf(const Napi::CallbackInfo& info, const napi_type_tag& tag, const char* what) {
  if (info.Length() < 1 || !info[0].IsExternal() ||
      !info[0].As<Napi::External<Handle>>().CheckTypeTag(&tag)) {
    fail(ErrorCode::Internal, "the first argument must be a %s", what);
  }
  return *info[0].As<Napi::External<Handle>>().Data();
}

ModelHandle& modelOf(const Napi::CallbackInfo& info) {
  ModelHandle& handle = handleOf<ModelHandle>(info, kModelTag, "model");
  if (handle.ranks.empty()) fail(ErrorCode::Disposed, "the model was disposed");
  return handle;
}

SessionHandle& sessionOf(const Napi::CallbackInfo& info) {
  SessionHandle& handle = handleOf<SessionHandle>(info, kSessionTag, "session");
  if (!handle.session) fail(ErrorCode::Disposed, "the sampling session was disposed");
  return handle;
}

// Frees what a handle holds, and tells the garbage collector.
void release(Napi::Env env, ModelHandle& handle) {
  if (handle.ranks.empty()) return;
  for (Rank& rank : handle.ranks) environment(env).discard(rank.device, std::move(rank.model));
  handle.ranks.clear();
  Napi::MemoryManagement::AdjustExternalMemory(env, -handle.bytes);
  handle.bytes = 0;
}
void release(Napi::Env env, SessionHandle& handle) {
  if (handle.session) environment(env).discard(handle.device, std::move(handle.session));
}

template <class Handle>
Napi::Value wrap(Napi::Env env, Handle* handle, const napi_type_tag& tag) {
  auto external = Napi::External<Handle>::New(env, handle, [](Napi::Env env, Handle* dead) {
    release(env, *dead);
    delete dead;
  });
  external.TypeTag(&tag);
  return external;
}

// The completion of work that has no result.
Napi::Value nothing(Napi::Env env, Napi::Object) { return env.Undefined(); }

// Wraps a function so that what it throws reaches JavaScript as { code, message }.
template <Napi::Value (*call)(const Napi::CallbackInfo&)>
Napi::Value exported(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return call(info); });
}

Napi::Value shutdown(const Napi::CallbackInfo& info) {
  environment(info.Env()).cancel();
  return info.Env().Undefined();
}

Napi::Value devices(const Napi::CallbackInfo& info) {
  return environment(info.Env()).ask(info.Env(), devicesJson);
}

Napi::Value system(const Napi::CallbackInfo& info) {
  return environment(info.Env()).ask(info.Env(), systemJson);
}

Napi::Value listChips(const Napi::CallbackInfo& info) {
  Napi::Array names = Napi::Array::New(info.Env());
  for (const Chip& chip : chips()) names.Set(names.Length(), chip.name);
  return names;
}

Napi::Value plan(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), planJson(textArgument(info, 0), textArgument(info, 1)));
}

// (device, request) → a list of { name, seconds } as JSON
Napi::Value measure(const Napi::CallbackInfo& info) {
  const std::string device = textArgument(info, 0);
  const ProductRequest request = parseProductRequest(parseJson(textArgument(info, 1), "the product"));
  requireDevice(device, request.precision);
  return environment(info.Env())
      .submit(info.Env(), device, nullptr, Napi::Object::New(info.Env()),
              [request](DeviceContext& context) -> Completion {
                const int threads = defaultThreads();
                requireThreads(threads);
                const auto measured =
                    measureProduct(*context.device, context.device->target(request.precision, threads),
                                   request.problem, request.accumulate, request.rounds);
                Json list = Json::array();
                for (const MeasuredProduct& one : measured) {
                  list.push_back({{"name", one.name}, {"seconds", one.seconds}});
                  if (!one.error.empty()) list.back()["error"] = one.error;
                }
                return [text = list.dump()](Napi::Env env, Napi::Object) {
                  return Napi::String::New(env, text);
                };
              });
}

// (graph, options of each rank): the ranks are on different devices.
Napi::Value createModel(const Napi::CallbackInfo& info) {
  const std::string graph = textArgument(info, 0);
  if (info.Length() < 2 || !info[1].IsArray()) fail(ErrorCode::Internal, "the options must be an array");
  const auto texts = info[1].As<Napi::Array>();
  const int world = static_cast<int>(texts.Length());
  if (world < 1 || world > kMostRanks)
    fail(ErrorCode::Config, "a model can't have %d ranks: use 1 to %d", world, kMostRanks);
  std::vector<ModelOptions> options;
  std::set<std::string> devices;
  for (uint32_t rank = 0; rank < texts.Length(); ++rank) {
    const Napi::Value text = texts.Get(rank);
    if (!text.IsString()) fail(ErrorCode::Internal, "the options of a rank must be a string");
    options.push_back(ModelOptions::parse(text.As<Napi::String>().Utf8Value(), world));
    const std::string& device = options.back().device;
    if (!devices.insert(device).second)
      fail(ErrorCode::Config, "two ranks are on '%s': give each rank a device of its own", device.c_str());
    if (world > 1 && !isCpu(device))
      fail(ErrorCode::Device, "'%s' can't be one of several ranks: they run on the CPU only", device.c_str());
  }
  std::vector<std::shared_ptr<ProcessGroup>> group(1);
  if (world > 1) group = environment(info.Env()).makeGroup(world);
  const auto ranks = std::make_shared<std::vector<Rank>>(static_cast<size_t>(world));
  std::vector<Task> tasks;
  for (size_t i = 0; i < options.size(); ++i) {
    tasks.push_back(
        {options[i].device, [=, own = options[i], one = group[i]](DeviceContext& context) -> Completion {
           (*ranks)[i] = {std::make_shared<Model>(graph, own, context.device, one), own.device};
           return [ranks](Napi::Env env, Napi::Object) {
             auto* handle = new ModelHandle{*ranks};
             for (const Rank& rank : *ranks) handle->bytes += rank.model->stateBytes();
             Napi::MemoryManagement::AdjustExternalMemory(env, handle->bytes);
             return wrap(env, handle, kModelTag);
           };
         }});
  }
  return environment(info.Env()).submit(info.Env(), std::move(tasks), nullptr, Napi::Object::New(info.Env()));
}

Napi::Value modelInfo(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), modelOf(info).ranks[0].model->infoJson());
}

// Runs work on a model's ranks, or on one of them, and returns what that of the first completes with.
using ModelWork = std::function<Completion(Model& model, DeviceContext& context, size_t rank)>;

Napi::Value onRanks(const Napi::CallbackInfo& info, const ModelHandle& handle, size_t first, size_t last,
                    Napi::Object kept, const ModelWork& work, Use use = Use::Exclusive) {
  std::vector<Task> tasks;
  for (size_t i = first; i < last; ++i) {
    const Rank& rank = handle.ranks[i];
    tasks.push_back({rank.device, [work, i, model = rank.model](DeviceContext& context) {
                       return work(*model, context, i);
                     }});
  }
  return environment(info.Env()).submit(info.Env(), std::move(tasks), handle.usage, kept, use);
}

Napi::Value onEveryRank(const Napi::CallbackInfo& info, const ModelHandle& handle, const ModelWork& work,
                        Use use = Use::Exclusive) {
  return onRanks(info, handle, 0, handle.ranks.size(), info[0].As<Napi::Object>(), work, use);
}

// The first rank has what all have.
Napi::Value onFirstRank(const Napi::CallbackInfo& info, const ModelHandle& handle, const ModelWork& work) {
  return onRanks(info, handle, 0, 1, info[0].As<Napi::Object>(), work);
}

// The kernels of the model's products as JSON.
Napi::Value readProducts(const Napi::CallbackInfo& info) {
  return onFirstRank(info, modelOf(info), [](Model& model, DeviceContext&, size_t) -> Completion {
    return
        [text = model.productsJson()](Napi::Env env, Napi::Object) { return Napi::String::New(env, text); };
  });
}

// (model, products) → those that can't be used here, as JSON
Napi::Value restoreProducts(const Napi::CallbackInfo& info) {
  return onEveryRank(info, modelOf(info),
                     [text = textArgument(info, 1)](Model& model, DeviceContext&, size_t) -> Completion {
                       return [unusable = model.restoreProducts(text)](Napi::Env env, Napi::Object) {
                         return Napi::String::New(env, unusable);
                       };
                     });
}

Napi::Value configureTraining(const Napi::CallbackInfo& info) {
  const auto floats = [&](size_t index) { return arrayArgument(info, index, DType::F32).values<float>(); };
  const TrainingOptions options = TrainingOptions::parse(textArgument(info, 1), floats(2), floats(3));
  return onEveryRank(info, modelOf(info), [options](Model& model, DeviceContext&, size_t) -> Completion {
    model.training().configure(options);
    return nothing;
  });
}

// A step for each rank, by rank.
using Steps = std::shared_ptr<const std::vector<StepRequest>>;
Steps stepsOf(const Napi::CallbackInfo& info, const ModelHandle& handle) {
  return std::make_shared<const std::vector<StepRequest>>(stepArguments(info, 1, handle.ranks.size()));
}

Napi::Value trainStep(const Napi::CallbackInfo& info) {
  const ModelHandle handle = modelOf(info);  // a copy: a getter of the batch may dispose of the model
  return onEveryRank(
      info, handle,
      [steps = stepsOf(info, handle)](Model& model, DeviceContext& context, size_t rank) -> Completion {
        return [step = model.training().enqueueStep(context, (*steps)[rank]),
                losses = model.graph().losses.size()](Napi::Env env, Napi::Object) {
          return metricsValue(env, step->result(), losses);
        };
      },
      Use::Step);
}

// { result, timings: a list as JSON }
Napi::Value profileStep(const Napi::CallbackInfo& info) {
  const ModelHandle handle = modelOf(info);
  return onEveryRank(
      info, handle,
      [steps = stepsOf(info, handle)](Model& model, DeviceContext& context, size_t rank) -> Completion {
        const TrainingRun::Profile profile = model.training().profileStep(context, (*steps)[rank]);
        return [state = profile.result, timings = profileJson(profile), losses = model.graph().losses.size()](
                   Napi::Env env, Napi::Object) {
          Napi::Object value = Napi::Object::New(env);
          value.Set("result", metricsValue(env, state, losses));
          value.Set("timings", timings);
          return value;
        };
      });
}

Napi::Value deviceStatistics(const Napi::CallbackInfo& info) {
  const std::string device = textArgument(info, 0);
  return environment(info.Env())
      .submit(info.Env(), device, nullptr, Napi::Object::New(info.Env()),
              [](DeviceContext& context) -> Completion {
                const DeviceStatistics& statistics = context.device->statistics();
                const double allocations = static_cast<double>(statistics.allocations),
                             synchronizations = static_cast<double>(statistics.synchronizations);
                return [=](Napi::Env env, Napi::Object) {
                  Napi::Object value = Napi::Object::New(env);
                  value.Set("allocations", allocations);
                  value.Set("synchronizations", synchronizations);
                  return value;
                };
              });
}

Napi::Value run(const Napi::CallbackInfo& info) {
  const ModelHandle handle = modelOf(info);  // a copy: a getter of the batch may dispose of the model
  const ProgramRequest request = parseRequest(parseJson(textArgument(info, 1), "the request"));
  const HostBatch batch = batchArgument(info[2]);
  const RunOptions options = runOptions(textArgument(info, 3));
  return onFirstRank(info, handle, [=](Model& model, DeviceContext& context, size_t) -> Completion {
    auto result = std::make_shared<RunResult>(model.run(context, request, batch, options));
    return [result](Napi::Env env, Napi::Object) { return runResultValue(env, *result); };
  });
}

// (model, kind, name, into, asInFiles, rank)
Napi::Value readTensor(const Napi::CallbackInfo& info) {
  ModelHandle& handle = modelOf(info);
  const std::string kind = textArgument(info, 1), name = textArgument(info, 2);
  const size_t length = requireArray(info, 3, napi_float32_array, 0);
  const bool asInFiles = flagArgument(info, 4);
  const size_t rank = static_cast<size_t>(info[5].As<Napi::Number>().Uint32Value());
  if (rank >= handle.ranks.size())
    fail(ErrorCode::Internal, "the model has %zu ranks, but no rank %zu", handle.ranks.size(), rank);
  const auto read = [=](Model& model, DeviceContext&, size_t) -> Completion {
    auto values = std::make_shared<std::vector<float>>(model.state().readTensor(kind, name, asInFiles));
    if (values->size() != length)
      fail(ErrorCode::Shape, "'%s' has %zu elements, not %zu", name.c_str(), values->size(), length);
    return [values](Napi::Env env, Napi::Object into) -> Napi::Value {
      fill(into, values->data(), values->size() * sizeof(float));
      return env.Undefined();
    };
  };
  return onRanks(info, handle, rank, rank + 1, info[3].As<Napi::Object>(), read);
}

Napi::Value writeTensor(const Napi::CallbackInfo& info) {
  ModelHandle& handle = modelOf(info);
  const std::string kind = textArgument(info, 1), name = textArgument(info, 2);
  const std::vector<float> values = arrayArgument(info, 3, DType::F32).values<float>();
  const bool asInFiles = flagArgument(info, 4);
  return onEveryRank(info, handle, [=](Model& model, DeviceContext&, size_t) -> Completion {
    model.state().writeTensor(kind, name, values, asInFiles);
    return nothing;
  });
}

// The fields of a value of State that checkpoints hold.
template <class T, T StepState::*member>
Napi::Value readSaved(const Napi::CallbackInfo& info) {
  return onFirstRank(info, modelOf(info), [](Model& model, DeviceContext&, size_t) -> Completion {
    return
        [value = model.state().read(member)](Napi::Env env, Napi::Object) { return savedValue(env, value); };
  });
}

Napi::Value writeCounters(const Napi::CallbackInfo& info) {
  const Counters counters = savedArgument<Counters>(info, 1);
  return onEveryRank(info, modelOf(info), [counters](Model& model, DeviceContext&, size_t) -> Completion {
    model.state().setSteps(counters.attempted, counters.applied);
    return nothing;
  });
}

Napi::Value writeScaler(const Napi::CallbackInfo& info) {
  const LossScaler scaler = savedArgument<LossScaler>(info, 1);
  if (!(scaler.scale > 0 && scaler.scale <= 3.4e38)) {
    fail(ErrorCode::Config, "the loss scale is %g; it must be greater than 0 and finite in fp32",
         scaler.scale);
  }
  requireSteps("cleanSteps", scaler.cleanSteps);
  requireSteps("skippedInRow", scaler.skippedInRow);
  return onEveryRank(info, modelOf(info), [scaler](Model& model, DeviceContext&, size_t) -> Completion {
    model.state().write(&StepState::scaler, scaler);
    return nothing;
  });
}

Napi::Value createSession(const Napi::CallbackInfo& info) {
  const std::string options = textArgument(info, 1);
  const HostBatch arrays = batchArgument(info[2]);
  const ModelHandle handle = modelOf(info);  // a copy, once getters of the arrays have run
  return environment(info.Env())
      .submit(info.Env(), handle.ranks[0].device, handle.usage, info[0].As<Napi::Object>(),
              [model = handle.ranks[0].model, device = handle.ranks[0].device, usage = handle.usage, options,
               arrays](DeviceContext&) -> Completion {
                auto session = std::make_shared<Session>(model, options, arrays);
                return [session, device, usage](Napi::Env env, Napi::Object) {
                  return wrap(env, new SessionHandle{session, device, usage}, kSessionTag);
                };
              });
}

Napi::Value prefill(const Napi::CallbackInfo& info) {
  const HostBatch inputs = batchArgument(info[1]);
  const std::vector<int32_t> lengths = arrayArgument(info, 2, DType::I32).values<int32_t>();
  const SessionHandle handle = sessionOf(info);
  return environment(info.Env())
      .submit(info.Env(), handle.device, handle.usage, info[0].As<Napi::Object>(),
              [session = handle.session, inputs, lengths](DeviceContext& context) -> Completion {
                session->prefill(context, inputs, lengths);
                return nothing;
              });
}

Napi::Value forward(const Napi::CallbackInfo& info) {
  const SessionHandle handle = sessionOf(info);
  return environment(info.Env())
      .submit(info.Env(), handle.device, handle.usage, info[0].As<Napi::Object>(),
              [session = handle.session](DeviceContext& context) -> Completion {
                session->forward(context);
                return nothing;
              });
}

// Fills { tokens, finished, logProbs, topTokens, topLogProbs }, each as far as its array reaches.
Napi::Value decode(const Napi::CallbackInfo& info) {
  const double steps = info.Length() > 1 && info[1].IsNumber() ? info[1].As<Napi::Number>().DoubleValue() : 0;
  if (!(steps >= 1 && steps <= kMostVisit))
    fail(ErrorCode::Internal, "a visit of %g steps; it must be 1 to %lld", steps,
         static_cast<long long>(kMostVisit));
  const std::vector<uint32_t> mask = arrayArgument(info, 2, DType::I32).values<uint32_t>();
  const Napi::Object into = info[3].As<Napi::Object>();
  const SessionHandle handle = sessionOf(info);
  return environment(info.Env())
      .submit(info.Env(), handle.device, handle.usage, into,
              [session = handle.session, steps = static_cast<int64_t>(steps),
               mask](DeviceContext& context) -> Completion {
                auto visit = std::make_shared<Visit>(session->decode(context, steps, mask));
                return [visit](Napi::Env env, Napi::Object into) -> Napi::Value {
                  const auto copy = [&](const char* name, const auto& values) {
                    const Napi::Value array = into.Get(name);
                    if (array.IsTypedArray())
                      fill(array.As<Napi::Object>(), values.data(), values.size() * 4);
                  };
                  copy("tokens", visit->tokens);
                  copy("finished", visit->finished);
                  copy("logProbs", visit->logProbs);
                  copy("topTokens", visit->topTokens);
                  copy("topLogProbs", visit->topLogProbs);
                  return env.Undefined();
                };
              });
}

Napi::Value redirect(const Napi::CallbackInfo& info) {
  const std::vector<int32_t> parents = arrayArgument(info, 1, DType::I32).values<int32_t>(),
                             tokens = arrayArgument(info, 2, DType::I32).values<int32_t>();
  const SessionHandle handle = sessionOf(info);
  return environment(info.Env())
      .submit(info.Env(), handle.device, handle.usage, info[0].As<Napi::Object>(),
              [session = handle.session, parents, tokens](DeviceContext&) -> Completion {
                session->redirect(parents, tokens);
                return nothing;
              });
}

Napi::Value disposeModel(const Napi::CallbackInfo& info) {
  release(info.Env(), handleOf<ModelHandle>(info, kModelTag, "model"));
  return info.Env().Undefined();
}

Napi::Value disposeSession(const Napi::CallbackInfo& info) {
  release(info.Env(), handleOf<SessionHandle>(info, kSessionTag, "session"));
  return info.Env().Undefined();
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Environment(env));
  const auto add = [&](const char* name, auto function) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("shutdown", exported<shutdown>);
  add("devices", exported<devices>);
  add("system", exported<system>);
  add("chips", exported<listChips>);
  add("plan", exported<plan>);
  add("measureProduct", exported<measure>);
  add("createModel", exported<createModel>);
  add("modelInfo", exported<modelInfo>);
  add("readProducts", exported<readProducts>);
  add("restoreProducts", exported<restoreProducts>);
  add("configureTraining", exported<configureTraining>);
  add("trainStep", exported<trainStep>);
  add("profileStep", exported<profileStep>);
  add("deviceStatistics", exported<deviceStatistics>);
  add("run", exported<run>);
  add("readTensor", exported<readTensor>);
  add("writeTensor", exported<writeTensor>);
  add("readCounters", exported<readSaved<Counters, &StepState::counters>>);
  add("writeCounters", exported<writeCounters>);
  add("readScaler", exported<readSaved<LossScaler, &StepState::scaler>>);
  add("writeScaler", exported<writeScaler>);
  add("createSession", exported<createSession>);
  add("prefill", exported<prefill>);
  add("forward", exported<forward>);
  add("decode", exported<decode>);
  add("redirect", exported<redirect>);
  add("disposeModel", exported<disposeModel>);
  add("disposeSession", exported<disposeSession>);
  return exports;
}

}  // namespace

NODE_API_MODULE(tesserae, initialize)

}  // namespace tesserae
