#include "engine/state.h"

#include <algorithm>

#include "engine/initialize.h"
#include "runtime/error.h"
#include "runtime/threads.h"

namespace tesserae {

namespace {

// The transpose of a dense (rows, columns) matrix, by tiles that stay in cache.
std::vector<float> transpose(const std::vector<float>& values, int64_t rows, int64_t columns) {
  constexpr int64_t kTile = 32;
  std::vector<float> result(values.size());
  for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
    for (int64_t c0 = 0; c0 < columns; c0 += kTile) {
      for (int64_t r = r0; r < std::min(rows, r0 + kTile); ++r) {
        for (int64_t c = c0; c < std::min(columns, c0 + kTile); ++c) {
          result[static_cast<size_t>(c * rows + r)] = values[static_cast<size_t>(r * columns + c)];
        }
      }
    }
  }
  return result;
}

}  // namespace

State::State(const Layout& layout, const ModelOptions& options, Device& device)
    : device_(device), layout_(layout), precision_(options.precision), threads_(options.threads) {
  requireThreads(threads_);
  const StateLayout stateLayout(layout);
  requireMemory(device, layout.elements * (hasHalfCopy(precision_) ? 6 : 4) + stateLayout.bytes,
                "the parameters", "use a smaller model");
  allocate(Arena::Parameters, layout.elements * 4);
  if (hasHalfCopy(precision_)) allocate(Arena::HalfCopy, layout.elements * 2);
  allocate(Arena::State, stateLayout.bytes);
  for (const ParameterSlot& slot : layout.slots) {
    writeParameter(slot, drawInitialValues(*slot.parameter, static_cast<uint64_t>(options.seed), threads_));
  }
  write(&StepState::counters, &Counters::seed, options.seed);
  write(&StepState::scaler, LossScaler{1, 0, 0});
}

void State::allocate(Arena arena, int64_t bytes) { arenas_[static_cast<int>(arena)].reserve(device_, bytes); }

int64_t State::bytes() const {
  int64_t held = 0;
  for (const DeviceArena& arena : arenas_) held += arena.bytes();
  return held;
}

// Values in logical order, to the fp32 parameters and to their 16-bit copy.
void State::writeParameter(const ParameterSlot& slot, const std::vector<float>& values) {
  std::vector<float> physical(static_cast<size_t>(slot.spec.physicalElements()), 0.0f);
  pack(slot.spec, 4, values.data(), physical.data());
  device_.write(arena(Arena::Parameters) + slot.offset * 4, physical.data(), slot.spec.bytes());
  if (!hasHalfCopy(precision_)) return;
  std::vector<uint16_t> half(physical.size());
  const DType type = activationType(precision_);
#pragma omp parallel for schedule(static) num_threads(threads_)
  for (size_t i = 0; i < half.size(); ++i) half[i] = toHalf(physical[i], type);
  device_.write(arena(Arena::HalfCopy) + slot.offset * 2, half.data(), slot.spec.bytes() / 2);
}

Bases State::bases() const {
  Bases bases{};
  for (int i = 0; i < kArenas; ++i) bases[i] = arenas_[i].data();
  return bases;
}

const ParameterSlot& State::slot(const std::string& name) const {
  const ParameterSlot* found = layout_.find(name);
  if (!found) fail(ErrorCode::Config, "the model has no parameter '%s'", name.c_str());
  return *found;
}

Arena State::arenaOf(const std::string& kind) const {
  const std::pair<const char*, Arena> kinds[] = {{"parameter", Arena::Parameters},
                                                 {"gradient", Arena::Gradients},
                                                 {"moment1", Arena::Moment1},
                                                 {"moment2", Arena::Moment2},
                                                 {"ema", Arena::Ema}};
  for (const auto& [name, found] : kinds) {
    if (kind != name) continue;
    if (bytes(found) == 0) {
      fail(ErrorCode::Config, "the model has no %s yet: it has not been trained", name);
    }
    return found;
  }
  fail(ErrorCode::Config, "unknown kind of tensor '%s'", kind.c_str());
}

std::vector<float> State::readTensor(const std::string& kind, const std::string& name, bool asInFiles) const {
  const ParameterSlot& from = slot(name);
  std::vector<float> physical(static_cast<size_t>(from.spec.physicalElements()));
  device_.read(physical.data(), arena(arenaOf(kind)) + from.offset * 4, from.spec.bytes());
  std::vector<float> values(static_cast<size_t>(from.spec.logicalElements()));
  unpack(from.spec, 4, physical.data(), values.data());
  if (!asInFiles || !from.parameter->transposedInFiles) return values;
  return transpose(values, from.spec.axes[0].logical(), from.spec.axes[1].logical());
}

void State::writeTensor(const std::string& kind, const std::string& name, const std::vector<float>& values,
                        bool asInFiles) {
  const ParameterSlot& to = slot(name);
  if (static_cast<int64_t>(values.size()) != to.spec.logicalElements()) {
    fail(ErrorCode::Shape, "%s of '%s' has %lld elements, not %zu", kind.c_str(), name.c_str(),
         static_cast<long long>(to.spec.logicalElements()), values.size());
  }
  const bool turned = asInFiles && to.parameter->transposedInFiles;
  const std::vector<float>& logical =
      turned ? transpose(values, to.spec.axes[1].logical(), to.spec.axes[0].logical()) : values;
  const Arena place = arenaOf(kind);
  if (place == Arena::Parameters) return writeParameter(to, logical);
  std::vector<float> physical(static_cast<size_t>(to.spec.physicalElements()), 0.0f);
  pack(to.spec, 4, logical.data(), physical.data());
  device_.write(arena(place) + to.offset * 4, physical.data(), to.spec.bytes());
}

void State::writeChunks(const std::vector<ChunkSettings>& chunks) {
  device_.write(arena(Arena::State) + StateLayout(layout_).chunks, chunks.data(),
                static_cast<int64_t>(chunks.size() * sizeof(ChunkSettings)));
}

void State::setSteps(int64_t attempted, int64_t applied) {
  write(&StepState::counters, &Counters::attempted, attempted);
  write(&StepState::counters, &Counters::applied, applied);
}

}  // namespace tesserae
