// The memory of a model: parameters, and what training keeps from step to step.
#pragma once

#include <string>
#include <vector>

#include "compiler/ir.h"
#include "engine/executor.h"
#include "engine/model_options.h"
#include "ops/state.h"

namespace tesserae {

class State {
 public:
  // Allocates the parameters and draws their initial values; all but the random seed and the loss scale of 1
  // is zero. Layout and device must outlive it. Throws ERR_OUT_OF_MEMORY.
  State(const Layout& layout, const ModelOptions& options, Device& device);
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // The arenas of State. Those of training are empty until it starts.
  void allocate(Arena arena, int64_t bytes);
  void release(Arena arena) { arenas_[static_cast<int>(arena)] = {}; }
  char* arena(Arena arena) const { return arenas_[static_cast<int>(arena)].data(); }
  int64_t bytes(Arena arena) const { return arenas_[static_cast<int>(arena)].bytes(); }
  int64_t bytes() const;  // of all
  Bases bases() const;    // those of a session and of the device are null

  // kind: parameter, gradient, moment1, moment2, ema; values in logical order, or as files have them (some
  // parameters transposed). Throw ERR_CONFIG for an unknown name, ERR_SHAPE for another number of values.
  std::vector<float> readTensor(const std::string& kind, const std::string& name,
                                bool asInFiles = false) const;
  void writeTensor(const std::string& kind, const std::string& name, const std::vector<float>& values,
                   bool asInFiles = false);
  // Where a parameter is in the flat buffers. Throws ERR_CONFIG.
  const ParameterSlot& slot(const std::string& name) const;

  // A member of StepState, or one of its fields. Reading and writing wait for the device.
  template <class T>
  T read(T StepState::*member) const {
    T value;
    device_.read(&value, at(member), sizeof value);
    return value;
  }
  template <class T>
  void write(T StepState::*member, const T& value) {
    device_.write(at(member), &value, sizeof value);
  }
  template <class T, class Field>
  void write(T StepState::*member, Field T::*field, const Field& value) {
    device_.write(at(member, field), &value, sizeof value);
  }
  // Where it is in the device's memory.
  template <class T>
  char* at(T StepState::*member) const {
    static const StepState layout{};
    return arena(Arena::State) + distance(&layout, &(layout.*member));
  }
  template <class T, class Field>
  char* at(T StepState::*member, Field T::*field) const {
    static const T layout{};
    return at(member) + distance(&layout, &(layout.*field));
  }

  void writeChunks(const std::vector<ChunkSettings>& chunks);
  // The counters that a checkpoint holds.
  void setSteps(int64_t attempted, int64_t applied);

  const Layout& layout() const { return layout_; }

 private:
  static std::ptrdiff_t distance(const void* from, const void* to) {
    return static_cast<const char*>(to) - static_cast<const char*>(from);
  }
  void writeParameter(const ParameterSlot& slot, const std::vector<float>& values);
  Arena arenaOf(const std::string& kind) const;

  Device& device_;
  const Layout& layout_;
  const Precision precision_;
  const int threads_;
  DeviceArena arenas_[kArenas];  // those that are not of State stay empty
};

}  // namespace tesserae
