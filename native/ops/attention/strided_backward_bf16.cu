#include "ops/attention/sm80_backward.cuh"

template void tesserae::launchStridedBackward16<__nv_bfloat16>(const StridedAttentionArguments&,
                                                               cudaStream_t);
