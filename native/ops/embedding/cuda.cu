#include "ops/cuda_support.cuh"
#include "ops/embedding/plan.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;
constexpr int kSortThreads = EmbeddingSort::kBins;  // a thread a bin where offsets are computed
constexpr int kSortWarps = kSortThreads / 32;
constexpr int kBins = EmbeddingSort::kBins;
constexpr int kTile = EmbeddingSort::kTile;
constexpr int kGroups = kTile / kSortThreads;  // groups of 32 positions, one after the other, of a warp
constexpr int kSegment = EmbeddingSort::kSegment;
constexpr unsigned kAll = 0xffffffffu;

// y[row] = weight[ids[row]] + addend[row]; eight columns a thread. y may be addend.
template <class T, class W>
__global__ void __launch_bounds__(kThreads)
    embeddingKernel(const int32_t* ids, const W* weight, const T* addend, T* y, uint32_t vectors,
                    uint32_t vectorsOfRow, int32_t vocabulary) {
  const uint32_t vector = blockIdx.x * kThreads + threadIdx.x;
  if (vector >= vectors) return;
  const uint32_t row = vector / vectorsOfRow, column = vector % vectorsOfRow;
  // A chain of decoding steps can meet the -1 of `choose` before the host sees it: such a row embeds as zero.
  const int32_t id = ids[row];
  float v[kVector] = {};
  if (id >= 0 && id < vocabulary) {
    loadVector(weight + (static_cast<int64_t>(id) * vectorsOfRow + column) * kVector, v);
  }
  if (addend) {
    float around[kVector];
    loadVector(addend + static_cast<int64_t>(vector) * kVector, around);
#pragma unroll
    for (int i = 0; i < kVector; ++i) v[i] += around[i];
  }
  storeVector(y + static_cast<int64_t>(vector) * kVector, v);
}

// --- Gradient of the table
// ------------------------------------------------------------------------------------ Positions are sorted
// by id, stably (least significant digit first), so that the positions of an id stand in their order. Then a
// warp sums kSegment sorted positions: work is even however often a token occurs.

// Where a pass finds its keys: the ids themselves in the first, with position as value.
struct SortInput {
  const int32_t* ids;  // null after the first pass
  const uint32_t* keys;
  const uint32_t* values;
  uint32_t vocabulary;

  __device__ __forceinline__ uint32_t key(uint32_t i) const {
    if (!ids) return keys[i];
    const int32_t id = ids[i];
    return id >= 0 && static_cast<uint32_t>(id) < vocabulary ? static_cast<uint32_t>(id) : vocabulary;
  }
  __device__ __forceinline__ uint32_t value(uint32_t i) const { return ids ? i : values[i]; }
};

// histogram[tile][bin] = keys of the tile with that digit. Counts of integers do not depend on their order.
__global__ void __launch_bounds__(kSortThreads)
    histogramKernel(SortInput input, uint32_t positions, int shift, uint32_t* histogram) {
  __shared__ uint32_t counts[kBins];
  counts[threadIdx.x] = 0;
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < kTile; i += kSortThreads) {
    const uint32_t at = blockIdx.x * kTile + i;
    if (at < positions) atomicAdd(&counts[input.key(at) >> shift & (kBins - 1)], 1u);
  }
  __syncthreads();
  histogram[blockIdx.x * kBins + threadIdx.x] = counts[threadIdx.x];
}

// Moves each key and value to its place: behind all smaller digits, the same digit in earlier tiles, and in
// its tile in earlier warps, groups and lanes.
__global__ void __launch_bounds__(kSortThreads)
    scatterKernel(SortInput input, uint32_t positions, int shift, const uint32_t* histogram, uint32_t* keys,
                  uint32_t* values) {
  __shared__ uint32_t next[kSortWarps][kBins];  // the place of a warp's next key with a digit
  __shared__ uint32_t warpTotals[kSortWarps];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, bin = threadIdx.x;
  for (int w = 0; w < kSortWarps; ++w) next[w][bin] = 0;
  __syncthreads();

  const uint32_t first = blockIdx.x * kTile + warp * kGroups * 32 + lane;
  uint32_t key[kGroups];
  unsigned same[kGroups];  // lanes whose key has the same digit
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const uint32_t at = first + g * 32;
    key[g] = at < positions ? input.key(at) : 0;
    const uint32_t digit = at < positions ? key[g] >> shift & (kBins - 1) : kBins;
    same[g] = __match_any_sync(kAll, digit);
    if (at < positions && lane == __ffs(same[g]) - 1) next[warp][digit] += __popc(same[g]);
    __syncwarp();
  }
  __syncthreads();

  uint32_t before = 0, total = 0;  // of this thread's bin: in earlier tiles, in all
  for (uint32_t tile = 0; tile < gridDim.x; ++tile) {
    const uint32_t count = histogram[tile * kBins + bin];
    before += tile < blockIdx.x ? count : 0;
    total += count;
  }
  uint32_t upTo = total;  // inclusive sum over the bins of the warp, then of the block
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const uint32_t other = __shfl_up_sync(kAll, upTo, offset);
    if (lane >= offset) upTo += other;
  }
  if (lane == 31) warpTotals[warp] = upTo;
  __syncthreads();
  uint32_t place = upTo - total + before;
  for (int w = 0; w < warp; ++w) place += warpTotals[w];
  for (int w = 0; w < kSortWarps; ++w) {
    const uint32_t count = next[w][bin];
    next[w][bin] = place;
    place += count;
  }
  __syncthreads();

#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const uint32_t at = first + g * 32;
    const bool valid = at < positions;
    const uint32_t digit = key[g] >> shift & (kBins - 1);
    const uint32_t base = valid ? next[warp][digit] : 0;
    __syncwarp();
    if (valid) {
      if (lane == __ffs(same[g]) - 1) next[warp][digit] = base + __popc(same[g]);
      const uint32_t to = base + __popc(same[g] & ((1u << lane) - 1));
      keys[to] = key[g];
      values[to] = input.value(at);
    }
    __syncwarp();
  }
}

__device__ __forceinline__ void writeRow(float* to, float (&sum)[kVector], bool accumulate) {
  if (accumulate) {
    float old[kVector];
    loadVector(to, old);
#pragma unroll
    for (int i = 0; i < kVector; ++i) sum[i] += old[i];
  }
  storeVector(to, sum);
}

// A warp sums 8 × 32 columns of the rows of a segment of sorted positions, in order. Runs of one id that lie
// in the segment go to the table; the parts of those that it shares with its neighbours go to `partial`.
template <class T>
__global__ void __launch_bounds__(32)
    segmentKernel(const T* dy, const uint32_t* keys, const uint32_t* values, uint32_t positions,
                  uint32_t vocabulary, int32_t columns, float* partial, float* dweight, bool accumulate) {
  constexpr int kAhead = 8;  // rows in flight
  const uint32_t first = blockIdx.x * kSegment;
  const int count = static_cast<int>(positions - first < kSegment ? positions - first : kSegment);
  __shared__ uint32_t key[kSegment + 1];  // and the one after, or what no key is
  __shared__ uint32_t value[kSegment];
  for (int i = threadIdx.x; i <= count; i += 32) {
    key[i] = first + i < positions ? keys[first + i] : ~0u;
    if (i < count) value[i] = values[first + i];
  }
  __syncwarp();
  const int32_t column = static_cast<int32_t>(blockIdx.y * 32 + threadIdx.x) * kVector;
  if (column >= columns) return;
  float* entering = partial + static_cast<int64_t>(blockIdx.x) * 2 * columns + column;
  float* leaving = entering + columns;
  bool entered = first > 0 && keys[first - 1] == key[0];
  float sum[kVector] = {};
  for (int start = 0; start < count; start += kAhead) {
    Packed<T> rows[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      if (start + j < count && key[start + j] != vocabulary)
        rows[j] = loadPacked(dy + static_cast<int64_t>(value[start + j]) * columns + column);
    }
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      const int i = start + j;
      if (i >= count || key[i] == vocabulary) break;  // ids out of range stand last
#pragma unroll
      for (int k = 0; k < kVector; ++k) sum[k] += toFloat(rows[j].v[k]);
      const bool ends = key[i + 1] != key[i];
      if (!ends && i + 1 < count) continue;
      if (entered) {
        storeVector(entering, sum);
      } else if (!ends) {
        storeVector(leaving, sum);
      } else {
        writeRow(dweight + static_cast<int64_t>(key[i]) * columns + column, sum, accumulate);
      }
      entered = false;
#pragma unroll
      for (int k = 0; k < kVector; ++k) sum[k] = 0;
    }
  }
}

// The runs that lie in several segments: a warp for each segment that one leaves and did not enter.
__global__ void __launch_bounds__(32)
    runKernel(const uint32_t* keys, uint32_t positions, uint32_t vocabulary, int32_t columns,
              const float* partial, float* dweight, bool accumulate) {
  const uint32_t first = blockIdx.x * kSegment, after = first + kSegment;
  const int32_t column = static_cast<int32_t>(blockIdx.y * 32 + threadIdx.x) * kVector;
  if (after >= positions || column >= columns) return;
  const uint32_t key = keys[after - 1];
  if (key == vocabulary || keys[after] != key) return;
  if (keys[first] == key && first > 0 && keys[first - 1] == key) return;  // an earlier segment's run
  float sum[kVector];
  loadVector(partial + (static_cast<int64_t>(blockIdx.x) * 2 + 1) * columns + column, sum);
  for (uint32_t at = after; at < positions && keys[at] == key; at += kSegment) {
    float v[kVector];
    loadVector(partial + static_cast<int64_t>(at / kSegment) * 2 * columns + column, v);
#pragma unroll
    for (int i = 0; i < kVector; ++i) sum[i] += v[i];
  }
  writeRow(dweight + static_cast<int64_t>(key) * columns + column, sum, accumulate);
}

void embedding(const KernelContext& c) {
  const TensorView &ids = c.inputs[0], &weight = c.inputs[1];  // (B, T), (V→Vp, C)
  const TensorView &addend = c.inputs[2], &y = c.outputs[0];   // (B, T, C)
  requireTypes("embedding", y.dtype, {&addend});
  requireVectors("embedding", y.columns);
  const uint32_t vectors = static_cast<uint32_t>(y.elements / kVector);
  const auto launch = [&](auto activation, auto table) {
    using T = typename decltype(activation)::Type;
    using W = typename decltype(table)::Type;
    embeddingKernel<T, W><<<static_cast<unsigned>(divideUp(vectors, kThreads)), kThreads, 0, cudaStream(c)>>>(
        ids.i32(), static_cast<const W*>(weight.data), static_cast<const T*>(addend.data),
        static_cast<T*>(y.data), vectors, static_cast<uint32_t>(y.columns / kVector),
        static_cast<int32_t>(weight.factors[0].logical));
  };
  dispatchActivationType(y.dtype, "embedding", [&](auto tag) {
    if (weight.dtype == DType::F32) return launch(tag, TypeTag<float>{});
    requireTypes("embedding", y.dtype, {&weight});
    launch(tag, tag);
  });
  cudaCheckLaunch("embedding");
}

void embeddingBackward(const KernelContext& c) {
  const char* const name = "embedding_backward";
  const TensorView& ids = c.inputs[0];       // (B, T)
  const TensorView& dy = c.inputs[1];        // (B, T, C)
  const TensorView& dweight = c.outputs[0];  // (V→Vp, C)
  requireTypes(name, DType::F32, {&dweight});
  requireVectors(name, dy.columns);
  const cudaStream_t stream = cudaStream(c);
  const uint32_t positions = static_cast<uint32_t>(dy.rows);
  const uint32_t vocabulary = static_cast<uint32_t>(dweight.factors[0].logical);
  const int32_t columns = static_cast<int32_t>(dy.columns);
  const EmbeddingSort plan(positions, vocabulary, columns);
  char* workspace = static_cast<char*>(c.workspace);
  const auto words = [&](int64_t offset) { return reinterpret_cast<uint32_t*>(workspace + offset); };
  float* partial = reinterpret_cast<float*>(workspace + plan.partial);

  if (!c.accumulate[0]) {
    cudaMemsetAsync(dweight.data, 0, static_cast<size_t>(dweight.elements) * sizeof(float), stream);
    cudaCheckLaunch(name);
  }
  const unsigned tiles = static_cast<unsigned>(plan.tiles);
  SortInput input{ids.i32(), nullptr, nullptr, vocabulary};
  for (int pass = 0; pass < plan.passes; ++pass) {
    const int shift = pass * EmbeddingSort::kDigitBits, to = pass % 2;
    histogramKernel<<<tiles, kSortThreads, 0, stream>>>(input, positions, shift, words(plan.histogram));
    cudaCheckLaunch(name);
    scatterKernel<<<tiles, kSortThreads, 0, stream>>>(input, positions, shift, words(plan.histogram),
                                                      words(plan.keys[to]), words(plan.values[to]));
    cudaCheckLaunch(name);
    input = {nullptr, words(plan.keys[to]), words(plan.values[to]), vocabulary};
  }
  const dim3 grid(static_cast<unsigned>(plan.segments),
                  static_cast<unsigned>(divideUp(columns, 32 * kVector)));
  dispatchActivationType(dy.dtype, name, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    segmentKernel<T><<<grid, 32, 0, stream>>>(static_cast<const T*>(dy.data), input.keys, input.values,
                                              positions, vocabulary, columns, partial, dweight.f32(),
                                              c.accumulate[0]);
  });
  cudaCheckLaunch(name);
  runKernel<<<grid, 32, 0, stream>>>(input.keys, positions, vocabulary, columns, partial, dweight.f32(),
                                     c.accumulate[0]);
  cudaCheckLaunch(name);
}

}  // namespace

void register_embedding_cuda(KernelRegistry& registry) {
  registry.add("embedding", embedding);
  registry.add("embedding_backward", embeddingBackward);
}

}  // namespace tesserae
