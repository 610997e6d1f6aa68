// Who holds how much memory during a training step: the same sum for the plan, for the largest batch and for
// the error when it is too much.
#include <algorithm>
#include <cstdio>

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
      {Arena::HalfCopy, hasHalfCopy(micro.precision) ? layout.elements * 2 : 0},
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
  for (const auto& [arena, bytes] : arenas) owners.push_back({arenaName(arena), mapped(micro.device, bytes)});
  return owners;
}

int64_t totalBytes(const std::vector<MemoryOwner>& owners) {
  int64_t total = 0;
  for (const MemoryOwner& owner : owners) total += owner.bytes;
  return total;
}

int64_t largestRows(const Graph& graph, const Layout& layout, const Program& micro, const Program& update,
                    int threads, int64_t available) {
  const auto fits = [&](int64_t rows) {
    TrainRequest request = std::get<TrainRequest>(micro.request);
    request.capacity.rows = rows;
    try {
      const Program program = compile(graph, layout, micro.precision, micro.device, threads, request);
      return totalBytes(trainingMemory(layout, program, update)) <= available;
    } catch (const Error& error) {
      // A tensor of too many elements, though memory might hold the rest: no batch either.
      if (error.code != ErrorCode::OutOfMemory) throw;
      return false;
    }
  };
  if (!fits(1)) return 0;
  int64_t low = 1, high = 2;  // by bisection: memory grows with the rows
  while (high < (1 << 20) && fits(high)) {
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

void requireTrainingMemory(const Graph& graph, const Layout& layout, const Program& micro,
                           const Program& update, int threads, int64_t available) {
  const std::vector<MemoryOwner> owners = trainingMemory(layout, micro, update);
  const Capacity capacity = capacityOf(micro.request);
  if (totalBytes(owners) <= available) return;
  const int64_t rows = largestRows(graph, layout, micro, update, threads, available);
  const std::string fitting =
      rows > 0 ? "at most " + std::to_string(rows) +
                     " rows fit: use fewer rows and more gradientAccumulationSteps, or shorter rows"
               : "not even one row fits: use shorter rows or a smaller model";
  fail(ErrorCode::OutOfMemory,
       "a training step of %lld rows × %lld positions needs more memory than there is; %s\n%s",
       static_cast<long long>(capacity.rows), static_cast<long long>(capacity.time), fitting.c_str(),
       memoryTable(owners, available).c_str());
}

}  // namespace tesserae
