#include "binding/environment.h"

#include <new>

#include "engine/training_run.h"
#include "runtime/error.h"

namespace tesserae {

struct Environment::Pending {
  Environment* owner;
  std::string device;
  Napi::Promise::Deferred deferred;
  Napi::ObjectReference kept;
  std::shared_ptr<Usage> usage;
  Use use;
  Completion completion;  // empty after a failure
  std::string code, message;
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
  for (auto& [device, engine] : engines_) engine->cancel(this);
}

Environment::~Environment() {
  for (Pending* pending : open_) {
    discard(pending->device, std::make_shared<Completion>(std::move(pending->completion)));
    delete pending;
  }
}

Napi::Promise Environment::submit(Napi::Env env, const std::string& device, std::shared_ptr<Usage> usage,
                                  Napi::Object kept, Work work, Use use) {
  Engine* const engine = &engineOf(device);
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
      new Pending{this, device, deferred, Napi::Persistent(kept), std::move(usage), use, {}, {}, {}};
  if (open_.empty()) toJs_.Ref(env);
  open_.insert(pending);
  engine->submit(this, [this, engine, pending, device, work = std::move(work)](DeviceContext& context) {
    const auto finish = [this, pending] {
      toJs_.NonBlockingCall(pending,
                            [](Napi::Env jsEnv, Napi::Function, Pending* done) { deliver(jsEnv, done); });
    };
    bool later = false;
    const auto run = [&] {
      if (device != kNoDevice) openDevice(context, device);
      pending->completion = work(context);
      if (pending->use != Use::Step) return;
      engine->whenDone(this, [pending, finish](std::exception_ptr failure) {
        const auto rethrow = [&] {
          if (failure) std::rethrow_exception(failure);
        };
        translate(rethrow, pending->code, pending->message);
        finish();
      });
      later = true;
    };
    translate(run, pending->code, pending->message);
    if (!later) finish();
  });
  return deferred.Promise();
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
    if (pending->code.empty()) {
      translate([&] { result = pending->completion(env, pending->kept.Value()); }, pending->code,
                pending->message);
    }
  } catch (const Napi::Error& error) {
    return pending->deferred.Reject(error.Value());
  }
  // It may hold the last of a step's host memory, which is not to be freed here.
  owner.discard(pending->device, std::make_shared<Completion>(std::move(pending->completion)));
  if (pending->code.empty()) {
    pending->deferred.Resolve(result);
  } else {
    pending->deferred.Reject(failureValue(env, pending->code, pending->message));
  }
}

}  // namespace tesserae
