// The product of decoding: a row for each sequence. Plain C++.
#pragma once

#include <cstdint>

#include "ops/activation/functions.h"
#include "runtime/dtype.h"

struct CUstream_st;

namespace tesserae {

struct FewRows {
  const void *x, *weight;  // (rows, in), (out, in), of one type
  const float* bias;       // (out) or null
  void* y;                 // (rows, out)
  DType type, resultType;  // of x and weight; of y: the same or fp32
  int64_t rows, in, out;   // in, out: multiples of 8
  ActivationFunction function;
};

// y = f(x Wᵀ + b). A row's results depend on no other row and not on how many there are, bit for bit. fp32 is
// multiplied in fp32 whatever the precision.
void multiplyFewRows(CUstream_st* stream, const FewRows& product);

}  // namespace tesserae
