#include "engine/step_agreement.h"

#include <type_traits>

#include "runtime/error.h"

namespace tesserae {

namespace {

// Added up over the ranks.
struct Message {
  double refusals;
  TargetCounts targets;
};
static_assert(std::is_trivially_copyable_v<Message> && sizeof(Message) % sizeof(double) == 0);

}  // namespace

TargetCounts agreeOnStep(ProcessGroup* group, const std::exception_ptr& refusal, TargetCounts targets) {
  Message message{refusal ? 1.0 : 0.0, targets};
  if (group) group->allReduce(&message, sizeof message / sizeof(double), DType::F64);
  if (refusal) std::rethrow_exception(refusal);
  if (message.refusals > 0) fail(ErrorCode::Distributed, "another rank could not take the step, so none did");
  return message.targets;
}

}  // namespace tesserae
