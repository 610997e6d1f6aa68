#include "ops/attention/sm80_forward.cuh"

template void tesserae::launchCachedForward16<__nv_bfloat16>(const CachedAttentionArguments&, cudaStream_t);
