#include "ops/attention/sm80_backward.cuh"

template void tesserae::launchBackward16<__nv_bfloat16, true>(const AttentionArguments&, cudaStream_t);
