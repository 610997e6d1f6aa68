#pragma once

#include "compiler/program.h"

namespace tesserae {

// Compiles one Program for the chooser's target. Throws ERR_SHAPE, ERR_CONFIG, and ERR_DEVICE for a call that
// no kernel computes.
Program compile(const Graph& graph, const Layout& layout, Chooser& chooser, const ProgramRequest& request);

}  // namespace tesserae
