#include "ops/attention/sm80_backward.cuh"

template void tesserae::launchBackward16<__half, false>(const AttentionArguments&, cudaStream_t);
