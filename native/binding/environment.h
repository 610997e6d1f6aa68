// defines: Environment, Completion
#pragma once

#include <napi.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "engine/engine.h"

namespace tesserae {

// Runs on JavaScript's thread when native work has ended, with the object that was kept for it; returns what
// the promise resolves to. It holds no JavaScript values itself: it may be destroyed on another thread.
using Completion = std::function<Napi::Value(Napi::Env, Napi::Object kept)>;
// Runs on the engine thread; may throw.
using Work = std::function<Completion(DeviceContext&)>;

// What one JavaScript environment (main thread or worker) holds of the process: its share of the engines and
// the promises that are open.
class Environment {
 public:
  explicit Environment(Napi::Env env);
  ~Environment();

  // Drops queued work and waits for what runs. Promises that are open stay so.
  void cancel();

  // Queues work on a device's engine and returns its promise. `kept` stays referenced until it ends; `busy`,
  // if given, is true until then, and a call that finds it true rejects with ERR_BUSY.
  Napi::Promise submit(Napi::Env env, const std::string& device, std::shared_ptr<bool> busy,
                       Napi::Object kept, Work work);

 private:
  struct Pending;
  static void deliver(Napi::Env env, Pending* pending);

  std::map<std::string, std::shared_ptr<Engine>> engines_;  // by device, from its first use on
  Napi::ThreadSafeFunction toJs_;
  std::set<Pending*> open_;
};

// The plain { code, message } that lib/native.ts turns into a TesseraeError.
Napi::Value failureValue(Napi::Env env, const std::string& code, const std::string& message);

// Runs a call and throws its failure as such a value.
Napi::Value guarded(Napi::Env env, const std::function<Napi::Value()>& call);

}  // namespace tesserae
