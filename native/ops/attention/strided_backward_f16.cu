#include "ops/attention/sm80_backward.cuh"

template void tesserae::launchStridedBackward16<__half>(const StridedAttentionArguments&, cudaStream_t);
