#include "ops/attention/plain.cuh"

template void tesserae::launchPlainForward<float>(const StridedAttentionArguments&, cudaStream_t);
template void tesserae::launchPlainBackward<float>(const StridedAttentionArguments&, cudaStream_t);
