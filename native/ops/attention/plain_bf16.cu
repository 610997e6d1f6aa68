#include "ops/attention/plain.cuh"

template void tesserae::launchPlainForward<__nv_bfloat16>(const StridedAttentionArguments&, cudaStream_t);
template void tesserae::launchPlainBackward<__nv_bfloat16>(const StridedAttentionArguments&, cudaStream_t);
