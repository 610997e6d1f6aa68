#include "engine/program_cache.h"

#include "runtime/error.h"

namespace tesserae {

namespace {

constexpr size_t kMostPrograms = 16;  // of all modes and capacities together

}  // namespace

CompiledProgram& ProgramCache::find(const ProgramRequest& request) {
  for (auto it = programs_.begin(); it != programs_.end(); ++it) {
    if (it->program.request != request) continue;
    programs_.splice(programs_.begin(), programs_, it);
    return programs_.front();
  }
  programs_.push_front(std::move(*compile(request)));
  if (programs_.size() > kMostPrograms) {
    device_.synchronize();  // its recording may be running
    programs_.pop_back();
  }
  return programs_.front();
}

std::unique_ptr<CompiledProgram> ProgramCache::compile(const ProgramRequest& request) const {
  return std::unique_ptr<CompiledProgram>(
      new CompiledProgram{tesserae::compile(graph_, layout_, chooser_, request)});
}

void ProgramCache::clear() {
  device_.synchronize();  // a recording may be running
  programs_.clear();
}

void ProgramCache::enqueue(CompiledProgram& compiled, const Bases& bases, bool add) {
  CompiledProgram::Recorded& recorded = compiled.recorded[add ? 1 : 0];
  const auto run = [&] { execute(device_, compiled.program, bases, threads_, add, {}, {}, group_); };
  if (recorded.warm && recorded.possible && (!recorded.recording || recorded.bases != bases)) {
    if (recorded.recording) device_.synchronize();  // it may be running
    recorded.recording = nullptr;
    try {
      recorded.recording = device_.record(run);
    } catch (const Error& error) {
      if (error.code != ErrorCode::OutOfMemory) throw;
      recorded.possible = false;  // call by call needs no memory of the driver's
    }
    recorded.bases = bases;
  }
  recorded.warm = true;
  recorded.recording ? device_.replay(*recorded.recording) : run();
}

}  // namespace tesserae
