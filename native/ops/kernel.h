// defines: Extent, TensorView, Counter, Scaler, KernelContext, Kernel, TESSERAE_BOTH
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
};

// The State vector `counters` (int64): what random numbers and schedules are indexed by.
enum Counter : int64_t {
  kAttempted = 0,    // optimizer steps tried: random numbers, data cursor
  kApplied = 1,      // optimizer steps taken: Adam's t, the schedule
  kFirstSample = 2,  // index in the optimizer step of this micro-step's first row, over micro-steps and ranks
  kSeed = 3,         // of the model
  kCounters = 4,
};

// The State vector `scaler` (float64) of dynamic loss scaling.
enum Scaler : int64_t {
  kScale = 0,         // what the loss is multiplied by
  kCleanSteps = 1,    // steps with a finite gradient since the scale last changed
  kSkippedInRow = 2,  // steps without one since the last that had one
  kScaler = 3,
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
};

using Kernel = void (*)(const KernelContext&);

}  // namespace tesserae
