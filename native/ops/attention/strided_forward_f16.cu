#include "ops/attention/sm80_forward.cuh"

template void tesserae::launchStridedForward16<__half>(const StridedAttentionArguments&, cudaStream_t);
