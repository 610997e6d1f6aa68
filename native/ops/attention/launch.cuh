// The launches of attention's kernels. For .cu files only.
#pragma once

#include "ops/attention/problem.cuh"

namespace tesserae {

// Any layout, mask and type, in plain_<type>.cu.
template <class T>
void launchPlainForward(const StridedAttentionArguments& a, cudaStream_t stream);
template <class T>
void launchPlainBackward(const StridedAttentionArguments& a, cudaStream_t stream);

// 16-bit types on tensor cores: packed rows in forward_<type>.cu and backward_<type>.cu, those with documents
// in documents_….cu, queries apart from keys in strided_….cu.
template <class T, bool kDocuments>
void launchForward16(const AttentionArguments& a, cudaStream_t stream);
template <class T>
void launchStridedForward16(const StridedAttentionArguments& a, cudaStream_t stream);
template <class T, bool kDocuments>
void launchBackward16(const AttentionArguments& a, cudaStream_t stream);
template <class T>
void launchStridedBackward16(const StridedAttentionArguments& a, cudaStream_t stream);

// Keys of a cache, in ops/cached_attention.
template <class T>
void launchCachedForward16(const CachedAttentionArguments& a, cudaStream_t stream);

}  // namespace tesserae
