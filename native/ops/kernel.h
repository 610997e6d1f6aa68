// What a kernel sees of a call: plain data, no templates of the standard library (CPU kernels are compiled
// once per instruction set into one binary, and a shared inline function would be linked from an arbitrary
// one of them).
#pragma once

#include <cstdint>

#include "runtime/dtype.h"

// Before a small function that kernels of the CPU and of CUDA share.
#ifdef __CUDACC__
#define TESSERAE_BOTH __host__ __device__ __attribute__((always_inline)) inline
#else
#define TESSERAE_BOTH __attribute__((always_inline)) inline
#endif

namespace tesserae {

class Attributes;
class ProcessGroup;  // comm/process_group.h
struct KernelChoice;

struct Extent {
  int64_t logical;
  int64_t physical;
};

// A tensor in memory: dense in the physical extents of its factors, last factor fastest.
struct TensorView {
  void* data = nullptr;  // null: this optional tensor is absent
  DType dtype = DType::F32;
  int32_t rank = 0;
  Extent factors[10];          // all factors of all axes in order: (B, T, 3, H, D→Dp)
  int64_t rows = 1;            // product of the physical extents of all axes but the last
  int64_t columns = 1;         // physical extent of the last axis
  int64_t logicalColumns = 1;  // logical extent of the last axis
  int64_t elements = 1;        // physical
  float* f32() const { return static_cast<float*>(data); }
  double* f64() const { return static_cast<double*>(data); }
  int32_t* i32() const { return static_cast<int32_t*>(data); }
  int64_t* i64() const { return static_cast<int64_t*>(data); }
  uint32_t* u32() const { return static_cast<uint32_t*>(data); }
  // A value of State as its struct (state.h).
  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
};

struct KernelContext {
  const TensorView* inputs;   // in the contract's order
  const TensorView* outputs;  // in the contract's order
  const bool* accumulate;     // per output: add to what it holds (gradients after the first write of a step)
  const Attributes* attributes;
  const KernelChoice* choice;             // what the compiler chose for the call
  void* workspace;                        // as many bytes as the contract asked for, aligned to 64
  uint64_t site;                          // hash of the call site's name: Philox key = seed ^ site
  int threads;                            // CPU: the size of the OpenMP pool
  void* stream;                           // CUDA: the cudaStream_t that everything is enqueued on
  Precision precision = Precision::FP32;  // TF32 or not where tensors are fp32
  ProcessGroup* group = nullptr;          // the ranks of the model; null if there is one
};

using Kernel = void (*)(const KernelContext&);

}  // namespace tesserae
