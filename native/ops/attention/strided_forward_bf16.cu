#include "ops/attention/sm80_forward.cuh"

template void tesserae::launchStridedForward16<__nv_bfloat16>(const StridedAttentionArguments&, cudaStream_t);
