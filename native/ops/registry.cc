#include "ops/registry.h"

#include "runtime/error.h"

namespace tesserae {

bool isOptional(const std::string& slot) { return slot.find('?') != std::string::npos; }

bool isState(const std::string& slot) { return slot.find('*') != std::string::npos; }

std::string slotName(const std::string& slot) { return slot.substr(0, slot.find_first_of("?*")); }

int slotIndex(const std::vector<std::string>& slots, const std::string& name) {
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slotName(slots[i]) == name) return static_cast<int>(i);
  }
  return -1;
}

void OperationRegistry::add(Operation operation) {
  const std::string name = operation.name;
  if (!operations_.emplace(name, std::move(operation)).second) {
    fail(ErrorCode::Internal, "operation '%s' is registered twice", name.c_str());
  }
}

const Operation* OperationRegistry::find(const std::string& name) const {
  const auto it = operations_.find(name);
  return it == operations_.end() ? nullptr : &it->second;
}

void KernelRegistry::add(const char* operation, Kernel kernel) { kernels_[operation] = kernel; }

Kernel KernelRegistry::find(const std::string& operation) const {
  const auto it = kernels_.find(operation);
  return it == kernels_.end() ? nullptr : it->second;
}

const OperationRegistry& operations() {
  static const OperationRegistry registry = [] {
    OperationRegistry r;
    registerOperations(r);
    return r;
  }();
  return registry;
}

const Operation& operation(const std::string& name) {
  const Operation* found = operations().find(name);
  if (!found) fail(ErrorCode::Config, "unknown operation '%s'", name.c_str());
  return *found;
}

CpuIsa cpuIsa() {
#ifdef TESSERAE_FUZZ
  return CpuIsa::v2;  // the only one that is compiled
#else
  static const CpuIsa isa = [] {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("x86-64-v4")) return CpuIsa::v4;
    if (__builtin_cpu_supports("x86-64-v3")) return CpuIsa::v3;
    return CpuIsa::v2;
  }();
  return isa;
#endif
}

Kernel cpuKernel(const std::string& operation) {
  static const KernelRegistry registry = [] {
    KernelRegistry r;
    registerCpuKernels(r, cpuIsa());
    return r;
  }();
  return registry.find(operation);
}

Kernel cudaKernel(const std::string& operation) {
  static const KernelRegistry registry = [] {
    KernelRegistry r;
    registerCudaKernels(r);
    return r;
  }();
  return registry.find(operation);
}

}  // namespace tesserae
