// What the ranks tell each other before a step.
#pragma once

#include <exception>

#include "comm/process_group.h"
#include "engine/loss_divisors.h"

namespace tesserae {

// The targets of all ranks, if all can take the step. If not, none does: throws this rank's refusal, or
// ERR_DISTRIBUTED where another rank has one. `group` is null for one rank.
TargetCounts agreeOnStep(ProcessGroup* group, const std::exception_ptr& refusal, TargetCounts targets);

}  // namespace tesserae
