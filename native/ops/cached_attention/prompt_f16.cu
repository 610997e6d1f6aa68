#include "ops/attention/sm80_forward.cuh"

template void tesserae::launchCachedForward16<__half>(const CachedAttentionArguments&, cudaStream_t);
