// defines: planJson
#pragma once

#include <string>
#include <string_view>

namespace tesserae {

// What a training step will do and take, before anything is allocated: operations with logical and physical
// shapes, bytes by owner, roofline time, padding, the largest batch that fits. Takes and returns JSON text
// (PlanRequest in lib/native.ts, Plan in lib/report/plan_table.ts). Throws ERR_CONFIG and ERR_SHAPE.
std::string planJson(std::string_view graphText, std::string_view requestText);

}  // namespace tesserae
