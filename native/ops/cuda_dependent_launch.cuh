// Kernels of sampling are short: on sm_90 one may start while the one before it ends (programmatic dependent
// launch, CUDA programming guide, section 4.5), and read what that one does not write before it waits.
#pragma once

#include <cuda_runtime.h>

#include "ops/cuda_support.cuh"

namespace tesserae {

// Waits until all that was enqueued before has been written. Every kernel that launchDependent launches calls
// it before it reads or writes what others write or read.
__device__ __forceinline__ void awaitPredecessor() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// From here on the next kernel may start: it waits for this one's end by itself.
__device__ __forceinline__ void releaseSuccessor() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

template <class... Parameters, class... Arguments>
void launchDependent(const char* operation, void (*kernel)(Parameters...), dim3 grid, int threads,
                     cudaStream_t stream, Arguments... arguments) {
  cudaFuncAttributes code{};
  if (cudaFuncGetAttributes(&code, kernel) != cudaSuccess) cudaCheckLaunch(operation);
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = code.ptxVersion >= 90 ? 1 : 0;  // code of older chips does not wait
  cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  cudaCheckLaunch(operation);
}

}  // namespace tesserae
