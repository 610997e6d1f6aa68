// Who holds how much memory during a training step: the same sum for the plan, for the largest batch and for
// the error when it is too much.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "compiler/compile.h"
#include "compiler/plan.h"
#include "runtime/error.h"

namespace tesserae {

namespace {

// CUDA maps memory in granules of 2 MiB, and no two arenas share one. The CPU's allocator gives what is
// asked.
int64_t mapped(DeviceKind device, int64_t bytes) {
  constexpr int64_t kGranule = int64_t{2} << 20;
  return device == DeviceKind::CUDA ? (bytes + kGranule - 1) / kGranule * kGranule : bytes;
}

// The owners in MiB with their shares of the total.
std::string memoryTable(const std::vector<MemoryOwner>& owners, int64_t available) {
  const int64_t total = totalBytes(owners);
  std::string table = "  owner              MiB    share";
  const auto row = [&](const char* name, int64_t bytes) {
    char line[80];
    std::snprintf(line, sizeof line, "\n  %-12s %9.1f %6.1f %%", name, static_cast<double>(bytes) / (1 << 20),
                  100 * static_cast<double>(bytes) / static_cast<double>(total));
    table += line;
  };
  for (const MemoryOwner& owner : owners) {
    if (owner.bytes > 0) row(owner.name, owner.bytes);
  }
  row("total", total);
  row("available", available);
  return table;
}

}  // namespace

bool usesArena(const Program& program, Arena arena) {
  return std::any_of(program.values.begin(), program.values.end(),
                     [&](const Value& value) { return value.arena == arena; });
}

std::vector<MemoryOwner> trainingMemory(const Layout& layout, const Program& micro, const Program& update) {
  const int64_t flat = layout.elements * 4;
  const std::pair<Arena, int64_t> arenas[] = {
      {Arena::Parameters, flat},
      {Arena::HalfCopy, hasHalfCopy(micro.target.precision) ? layout.elements * 2 : 0},
      {Arena::Gradients, flat},
      {Arena::Moment1, usesArena(update, Arena::Moment1) ? flat : 0},
      {Arena::Moment2, usesArena(update, Arena::Moment2) ? flat : 0},
      {Arena::Ema, usesArena(update, Arena::Ema) ? flat : 0},
      {Arena::State, StateLayout(layout).bytes},
      {Arena::Schedule, std::get<UpdateRequest>(update.request).scheduleBytes()},
      {Arena::Inputs, micro.inputBytes},
      {Arena::Outputs, std::max(micro.outputBytes, update.outputBytes)},
      {Arena::Workspace, std::max(micro.workspaceBytes, update.workspaceBytes)}};
  std::vector<MemoryOwner> owners;
  for (const auto& [arena, bytes] : arenas)
    owners.push_back({arenaName(arena), mapped(micro.target.kind, bytes)});
  return owners;
}

int64_t totalBytes(const std::vector<MemoryOwner>& owners) {
  int64_t total = 0;
  for (const MemoryOwner& owner : owners) total += owner.bytes;
  return total;
}

int64_t largestRows(const Graph& graph, const Layout& layout, const Program& micro, const Program& update,
                    int64_t available) {
  constexpr int64_t kMost = int64_t{1} << 20;
  // By tables: memory does not depend on what a library chooses on the device.
  Chooser chooser(micro.target);
  // Infinite for a tensor of too many elements, though memory might hold the rest: no batch either.
  const auto bytesOf = [&](int64_t rows) {
    TrainRequest request = std::get<TrainRequest>(micro.request);
    request.capacity.rows = rows;
    try {
      const Program program = compile(graph, layout, chooser, request);
      return static_cast<double>(totalBytes(trainingMemory(layout, program, update)));
    } catch (const Error& error) {
      if (error.code != ErrorCode::OutOfMemory) throw;
      return std::numeric_limits<double>::infinity();
    }
  };
  const double limit = static_cast<double>(available);
  int64_t low = 1, high = kMost;  // fits; does not fit
  double lowBytes = bytesOf(low);
  if (lowBytes > limit) return 0;
  // Memory grows with the rows, and almost linearly: a line through what is known finds the answer in a few
  // steps. Every fourth step halves the range, in case it does not.
  int64_t probe = std::clamp(capacityOf(micro.request).rows, low + 1, high - 1);
  double bytesPerRow = 0;
  for (int step = 1; high - low > 1; ++step) {
    const double bytes = bytesOf(probe);
    if (std::isfinite(bytes)) bytesPerRow = (bytes - lowBytes) / static_cast<double>(probe - low);
    if (bytes <= limit) {
      low = probe;
      lowBytes = bytes;
    } else {
      high = probe;
    }
    const double range = static_cast<double>(high - low),
                 room = bytesPerRow > 0 ? (limit - lowBytes) / bytesPerRow : range;
    probe = low + (step % 4 == 0 ? (high - low) / 2 : static_cast<int64_t>(std::min(room, range)));
    probe = std::clamp(probe, low + 1, std::max(low + 1, high - 1));
  }
  return low;
}

void requireTrainingMemory(const Graph& graph, const Layout& layout, const Program& micro,
                           const Program& update, int64_t available) {
  const std::vector<MemoryOwner> owners = trainingMemory(layout, micro, update);
  if (totalBytes(owners) <= available) return;
  const int64_t rows = largestRows(graph, layout, micro, update, available);
  const std::string fitting =
      rows > 0 ? "at most " + std::to_string(rows) +
                     " rows fit: use fewer rows and more gradientAccumulationSteps, or shorter rows"
               : "not even one row fits: use shorter rows or a smaller model";
  fail(ErrorCode::OutOfMemory, "a training step of %s needs more memory than is available; %s\n%s",
       capacityOf(micro.request).describe().c_str(), fitting.c_str(), memoryTable(owners, available).c_str());
}

}  // namespace tesserae
