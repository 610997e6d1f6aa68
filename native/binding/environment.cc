#include "binding/environment.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <new>

#include "comm/in_process_group.h"
#include "engine/training_run.h"
#include "runtime/error.h"

namespace tesserae {

// A task of a call.
struct Environment::Part {
  std::string device;
  Completion completion;  // empty after a failure
  std::string code, message;
};

struct Environment::Pending {
  Environment* owner;
  Napi::Promise::Deferred deferred;
  Napi::ObjectReference kept;
  std::shared_ptr<Usage> usage;
  Use use;
  std::vector<Part> parts;
  std::atomic<size_t> running;

  // That of a rank which failed itself, before that of one which only heard of it; null without any.
  const Part* failure() const {
    const auto failed = [](const Part& part) { return !part.code.empty(); };
    const auto first = std::find_if(parts.begin(), parts.end(), [&](const Part& part) {
      return failed(part) && part.code != codeName(ErrorCode::Distributed);
    });
    const auto found = first != parts.end() ? first : std::find_if(parts.begin(), parts.end(), failed);
    return found == parts.end() ? nullptr : &*found;
  }
};

namespace {

// The engine of questions: its thread opens no device.
constexpr const char* kNoDevice = "none";

// Runs a call; its exception becomes a code and a message.
template <class Call>
void translate(Call call, std::string& code, std::string& message) {
  try {
    call();
  } catch (const Error& error) {
    code = codeName(error.code);
    message = error.what();
  } catch (const std::bad_alloc&) {
    code = codeName(ErrorCode::OutOfMemory);
    message = "host memory is exhausted";
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& error) {
    code = codeName(ErrorCode::Internal);
    message = error.what();
  }
}

}  // namespace

Napi::Value failureValue(Napi::Env env, const std::string& code, const std::string& message) {
  Napi::Object failure = Napi::Object::New(env);
  failure.Set("code", code);
  failure.Set("message", message);
  return failure;
}

Napi::Value guarded(Napi::Env env, const std::function<Napi::Value()>& call) {
  Napi::Value result = env.Undefined();
  std::string code, message;
  translate([&] { result = call(); }, code, message);
  if (!code.empty()) napi_throw(env, failureValue(env, code, message));
  return result;
}

Environment::Environment(Napi::Env env) {
  toJs_ = Napi::ThreadSafeFunction::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}),
                                        "tesserae", 0, 1);
  toJs_.Unref(env);  // an idle engine keeps no process alive
  // Hooks run last in, first out: the engine is done with this environment before its thread-safe function
  // goes.
  env.AddCleanupHook([](Environment* self) { self->cancel(); }, this);
}

void Environment::cancel() {
  // Some ranks of a step may be running while the jobs of others are dropped.
  for (const auto& weak : groups_) {
    if (const auto group = weak.lock()) group->abort("the process, or the thread that uses the model, ends");
  }
  for (auto& [device, engine] : engines_) engine->cancel(this);
}

Environment::~Environment() {
  for (Pending* pending : open_) {
    discardParts(*pending);
    delete pending;
  }
}

Napi::Promise Environment::submit(Napi::Env env, std::vector<Task> tasks, std::shared_ptr<Usage> usage,
                                  Napi::Object kept, Use use) {
  std::vector<Engine*> engines;
  for (const Task& task : tasks) engines.push_back(&engineOf(task.device));
  auto deferred = Napi::Promise::Deferred::New(env);
  if (usage) {
    const int most = use == Use::Step ? TrainingRun::kStepsAhead : 1;
    if (usage->exclusive || usage->steps >= most) {
      const bool steps = use == Use::Step && !usage->exclusive;
      deferred.Reject(
          failureValue(env, codeName(ErrorCode::Busy),
                       steps ? "two steps of this model are already running; await one before the next"
                             : "another call on this model is running; await it before the next "
                               "one"));
      return deferred.Promise();
    }
    if (use == Use::Step) {
      ++usage->steps;
    } else {
      usage->exclusive = true;
    }
  }
  auto* pending =
      new Pending{this, deferred, Napi::Persistent(kept), std::move(usage), use, {}, tasks.size()};
  for (const Task& task : tasks) pending->parts.push_back({task.device, {}, {}, {}});
  if (open_.empty()) toJs_.Ref(env);
  open_.insert(pending);
  // Ranks wait for each other, so steps of two models must be queued in one order on all engines.
  static std::mutex order;
  std::lock_guard<std::mutex> lock(order);
  for (size_t i = 0; i < tasks.size(); ++i)
    engines[i]->submit(this, [this, engine = engines[i], pending, part = &pending->parts[i],
                              work = std::move(tasks[i].work)](DeviceContext& context) {
      runPart(*engine, *pending, *part, work, context);
    });
  return deferred.Promise();
}

Napi::Promise Environment::submit(Napi::Env env, const std::string& device, std::shared_ptr<Usage> usage,
                                  Napi::Object kept, Work work, Use use) {
  return submit(env, std::vector<Task>{{device, std::move(work)}}, std::move(usage), kept, use);
}

void Environment::runPart(Engine& engine, Pending& pending, Part& part, const Work& work,
                          DeviceContext& context) {
  const auto finish = [this, &pending] {
    if (--pending.running > 0) return;
    toJs_.NonBlockingCall(&pending,
                          [](Napi::Env jsEnv, Napi::Function, Pending* done) { deliver(jsEnv, done); });
  };
  bool later = false;
  const auto run = [&] {
    if (part.device != kNoDevice) openDevice(context, part.device);
    part.completion = work(context);
    if (pending.use != Use::Step) return;
    engine.whenDone(this, [&part, finish](std::exception_ptr failure) {
      const auto rethrow = [&] {
        if (failure) std::rethrow_exception(failure);
      };
      translate(rethrow, part.code, part.message);
      finish();
    });
    later = true;
  };
  translate(run, part.code, part.message);
  if (!later) finish();
}

Napi::Promise Environment::ask(Napi::Env env, std::function<std::string()> question) {
  return submit(env, kNoDevice, nullptr, Napi::Object::New(env),
                [question = std::move(question)](DeviceContext&) -> Completion {
                  return [answer = question()](Napi::Env jsEnv, Napi::Object) {
                    return Napi::String::New(jsEnv, answer);
                  };
                });
}

Engine& Environment::engineOf(const std::string& device) {
  const auto found = engines_.find(device);
  if (found != engines_.end()) return *found->second;
  return *engines_.emplace(device, Engine::of(device)).first->second;
}

void Environment::discard(const std::string& device, std::shared_ptr<void> object) {
  engineOf(device).submit(nullptr, [object = std::move(object)](DeviceContext&) mutable { object.reset(); });
}

void Environment::discardParts(Pending& pending) {
  for (Part& part : pending.parts)
    discard(part.device, std::make_shared<Completion>(std::move(part.completion)));
}

std::vector<std::shared_ptr<ProcessGroup>> Environment::makeGroup(int world) {
  std::erase_if(groups_, [](const auto& group) { return group.expired(); });
  std::vector<std::shared_ptr<ProcessGroup>> group = inProcessGroup(world);
  groups_.insert(groups_.end(), group.begin(), group.end());
  return group;
}

void Environment::deliver(Napi::Env env, Pending* pending) {
  std::unique_ptr<Pending> owned(pending);
  Environment& owner = *pending->owner;
  owner.open_.erase(pending);
  if (owner.open_.empty()) owner.toJs_.Unref(env);
  if (pending->usage) {
    if (pending->use == Use::Step) {
      --pending->usage->steps;
    } else {
      pending->usage->exclusive = false;
    }
  }
  Napi::HandleScope scope(env);
  Napi::Value result = env.Undefined();
  try {
    if (!pending->failure()) {
      Part& first = pending->parts[0];
      translate([&] { result = first.completion(env, pending->kept.Value()); }, first.code, first.message);
    }
  } catch (const Napi::Error& error) {
    return pending->deferred.Reject(error.Value());
  }
  // They may hold the last of a step's host memory, which is not to be freed here.
  owner.discardParts(*pending);
  if (const Part* failure = pending->failure()) {
    pending->deferred.Reject(failureValue(env, failure->code, failure->message));
  } else {
    pending->deferred.Resolve(result);
  }
}

}  // namespace tesserae
