#include "ops/attention/plain.cuh"

template void tesserae::launchPlainForward<__half>(const StridedAttentionArguments&, cudaStream_t);
template void tesserae::launchPlainBackward<__half>(const StridedAttentionArguments&, cudaStream_t);
