#include "ops/attention/sm80_forward.cuh"

template void tesserae::launchForward16<__half, false>(const AttentionArguments&, cudaStream_t);
