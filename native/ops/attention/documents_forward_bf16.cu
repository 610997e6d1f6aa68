#include "ops/attention/sm80_forward.cuh"

template void tesserae::launchForward16<__nv_bfloat16, true>(const AttentionArguments&, cudaStream_t);
