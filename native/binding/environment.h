// How JavaScript waits for the engines: promises, and who may use a model meanwhile.
#pragma once

#include <napi.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "comm/process_group.h"
#include "engine/engine.h"

namespace tesserae {

// Runs on JavaScript's thread when native work has ended, with the object that was kept for it; returns what
// the promise resolves to. It holds no JavaScript values itself: it may be destroyed on another thread.
using Completion = std::function<Napi::Value(Napi::Env, Napi::Object kept)>;
// Runs on the engine thread; may throw.
using Work = std::function<Completion(DeviceContext&)>;

struct Task {
  std::string device;
  Work work;
};

// The calls running on a model: training steps, or one call of any other kind.
struct Usage {
  int steps = 0;
  bool exclusive = false;
};
enum class Use : uint8_t {
  Exclusive,  // the work is done when its function returns
  Step,       // runs until the device is done; at most TrainingRun::kStepsAhead at once
};

// What one JavaScript environment (main thread or worker) holds of the process: its share of the engines and
// the promises that are open.
class Environment {
 public:
  explicit Environment(Napi::Env env);
  ~Environment();

  // Drops queued work and waits for what runs. Promises that are open stay so.
  void cancel();

  // Queues work on the engines of devices, and returns a promise: of what the first task completes with once
  // all have ended, or of a failure, that of another rank last. `kept` stays referenced until they end.
  // `usage`, if given, counts them until then; a call that conflicts with a running one rejects with
  // ERR_BUSY.
  Napi::Promise submit(Napi::Env env, std::vector<Task> tasks, std::shared_ptr<Usage> usage,
                       Napi::Object kept, Use use = Use::Exclusive);
  Napi::Promise submit(Napi::Env env, const std::string& device, std::shared_ptr<Usage> usage,
                       Napi::Object kept, Work work, Use use = Use::Exclusive);

  // Asks something that may take long, such as the driver's first answer, on a thread that no model computes
  // on.
  Napi::Promise ask(Napi::Env env, std::function<std::string()> question);

  // The ranks of a model in this process. They are aborted when this environment ends.
  std::vector<std::shared_ptr<ProcessGroup>> makeGroup(int world);

  // Lets go of an object on the engine thread, after the work that was queued before: freeing memory waits
  // for the device, and JavaScript's thread must not.
  void discard(const std::string& device, std::shared_ptr<void> object);

 private:
  struct Pending;
  struct Part;
  // On a task's engine thread.
  void runPart(Engine& engine, Pending& pending, Part& part, const Work& work, DeviceContext& context);
  void discardParts(Pending& pending);
  static void deliver(Napi::Env env, Pending* pending);

  // Throws ERR_DEVICE where its thread can't be started.
  Engine& engineOf(const std::string& device);

  std::map<std::string, std::shared_ptr<Engine>> engines_;  // by device, from its first use on
  Napi::ThreadSafeFunction toJs_;
  std::set<Pending*> open_;
  std::vector<std::weak_ptr<ProcessGroup>> groups_;
};

// The plain { code, message } that lib/native.ts turns into a TesseraeError.
Napi::Value failureValue(Napi::Env env, const std::string& code, const std::string& message);

// Runs a call and throws its failure as such a value.
Napi::Value guarded(Napi::Env env, const std::function<Napi::Value()>& call);

}  // namespace tesserae
