// defines: compile
#pragma once

#include "compiler/program.h"

namespace tesserae {

// Compiles one Program. `threads` bounds the CPU's scratch memory. Throws ERR_SHAPE and ERR_CONFIG.
Program compile(const Graph& graph, const Layout& layout, Precision precision, DeviceKind device, int threads,
                const ProgramRequest& request);

}  // namespace tesserae
