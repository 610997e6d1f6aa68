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
constexpr int kSegmentThreads = 128;
constexpr unsigned kAll = 0xffffffffu;
constexpr uint32_t kNoKey = 0xffffffffu;

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
#pragma unroll 8
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

// Rows of the table that no position has become zero: a lane looks a row up among the sorted keys, then its
// warp writes those of its 32 rows that are not there.
__global__ void __launch_bounds__(kSegmentThreads)
    zeroAbsentKernel(const uint32_t* keys, uint32_t positions, uint32_t vocabulary, int32_t tableRows,
                     int32_t columns, float* dweight) {
  const int lane = threadIdx.x % 32;
  const int32_t first = static_cast<int32_t>(blockIdx.x * kSegmentThreads + threadIdx.x) - lane;
  const uint32_t row = static_cast<uint32_t>(first + lane);
  uint32_t low = 0, high = positions;  // the first key that is not less than the row lies in [low, high]
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    if (keys[middle] < row) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  // The key `vocabulary` stands for ids out of range, not for the first row of padding.
  const bool absent = first + lane < tableRows && (row >= vocabulary || low == positions || keys[low] != row);
  const float zero[kVector] = {};
  for (unsigned left = __ballot_sync(kAll, absent); left != 0; left &= left - 1) {
    float* to = dweight + static_cast<int64_t>(first + __ffs(left) - 1) * columns;
    for (int32_t column = lane * kVector; column < columns; column += 32 * kVector)
      storeVector(to + column, zero);
  }
}

// A warp sums 8 × 32 columns of the rows of a segment of sorted positions, in order. Runs of one id that lie
// in the segment go to the table; the parts of those that it shares with its neighbours go to `partial`.
template <class T, bool kAccumulate>
__global__ void __launch_bounds__(kSegmentThreads)
    segmentKernel(const T* dy, const uint32_t* keys, const uint32_t* values, uint32_t positions,
                  uint32_t vocabulary, int32_t columns, float* partial, float* dweight) {
  constexpr int kAhead =
      kAccumulate ? 4 : 8;  // rows of dy, and those of the table that they add to, in flight
  const int lane = threadIdx.x % 32;
  const uint32_t segment = blockIdx.x * (kSegmentThreads / 32) + threadIdx.x / 32, first = segment * kSegment;
  if (first >= positions) return;
  const bool mine = first + lane < positions;
  const uint32_t key = mine ? keys[first + lane] : kNoKey, value = mine ? values[first + lane] : 0;
  const uint32_t before = first > 0 ? keys[first - 1] : kNoKey;
  const uint32_t after = first + kSegment < positions ? keys[first + kSegment] : kNoKey;
  const uint32_t below = __shfl_down_sync(kAll, key, 1), next = lane < 31 ? below : after;
  const unsigned ends = __ballot_sync(kAll, next != key);                    // where a run of one id ends
  const int count = __popc(__ballot_sync(kAll, mine && key != vocabulary));  // ids out of range stand last
  bool entered = before == __shfl_sync(kAll, key, 0);                        // by a run of the segment before
  const int32_t column = static_cast<int32_t>(blockIdx.y * 32 + lane) * kVector;
  const bool inside = column < columns;
  float* entering = partial + static_cast<int64_t>(segment) * 2 * columns + column;
  float* leaving = entering + columns;
  float sum[kVector] = {};
  for (int start = 0; start < count; start += kAhead) {
    Packed<T> rows[kAhead];
    Packed<float> table[kAhead];
    float* to[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      const int i = start + j;
      const uint32_t position = __shfl_sync(kAll, value, i % 32);
      to[j] = dweight + static_cast<int64_t>(__shfl_sync(kAll, key, i % 32)) * columns + column;
      if (i >= count || !inside) continue;
      rows[j] = loadPacked(dy + static_cast<int64_t>(position) * columns + column);
      if (kAccumulate && ends >> i & 1u) table[j] = loadPacked(to[j]);
    }
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      const int i = start + j;
      if (i >= count || !inside) break;
#pragma unroll
      for (int k = 0; k < kVector; ++k) sum[k] += toFloat(rows[j].v[k]);
      const bool end = ends >> i & 1u;
      if (!end && i + 1 < kSegment) continue;
      if (entered) {
        storeVector(entering, sum);
      } else if (!end) {
        storeVector(leaving, sum);
      } else {
        if constexpr (kAccumulate) {
#pragma unroll
          for (int k = 0; k < kVector; ++k) sum[k] += table[j].v[k];
        }
        storeVector(to[j], sum);
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
  constexpr int kAhead = 16;  // parts in flight: a frequent id has many
  const uint32_t segment = blockIdx.x, first = segment * kSegment, segments = gridDim.x;
  const int32_t column = static_cast<int32_t>(blockIdx.y * 32 + threadIdx.x) * kVector;
  if (segment + 1 == segments || column >= columns) return;
  const uint32_t key = keys[first + kSegment - 1];
  const auto enters = [&](uint32_t s) { return s < segments && keys[s * kSegment] == key; };
  if (key == vocabulary || !enters(segment + 1)) return;
  if (keys[first] == key && first > 0 && keys[first - 1] == key) return;  // an earlier segment's run
  // The last segment that the run enters: in growing steps, then in halves.
  uint32_t last = segment + 1, step = 1;
  for (; enters(last + step); step *= 2) last += step;
  for (; step > 0; step /= 2) last += enters(last + step) ? step : 0;
  float sum[kVector];
  loadVector(partial + (static_cast<int64_t>(segment) * 2 + 1) * columns + column, sum);
  for (uint32_t start = segment + 1; start <= last; start += kAhead) {
    Packed<float> parts[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      if (start + j <= last)
        parts[j] = loadPacked(partial + static_cast<int64_t>(start + j) * 2 * columns + column);
    }
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      if (start + j > last) break;
#pragma unroll
      for (int i = 0; i < kVector; ++i) sum[i] += parts[j].v[i];
    }
  }
  float* to = dweight + static_cast<int64_t>(key) * columns + column;
  if (accumulate) {
    float old[kVector];
    loadVector(to, old);
#pragma unroll
    for (int i = 0; i < kVector; ++i) sum[i] += old[i];
  }
  storeVector(to, sum);
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
  if (!c.accumulate[0]) {
    const int32_t tableRows = static_cast<int32_t>(dweight.rows);
    zeroAbsentKernel<<<static_cast<unsigned>(divideUp(tableRows, kSegmentThreads)), kSegmentThreads, 0,
                       stream>>>(input.keys, positions, vocabulary, tableRows, columns, dweight.f32());
    cudaCheckLaunch(name);
  }
  const unsigned columnBlocks = static_cast<unsigned>(divideUp(columns, 32 * kVector));
  const dim3 segments(static_cast<unsigned>(divideUp(plan.segments, kSegmentThreads / 32)), columnBlocks);
  dispatchActivationType(dy.dtype, name, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    const auto kernel = c.accumulate[0] ? segmentKernel<T, true> : segmentKernel<T, false>;
    kernel<<<segments, kSegmentThreads, 0, stream>>>(static_cast<const T*>(dy.data), input.keys, input.values,
                                                     positions, vocabulary, columns, partial, dweight.f32());
  });
  cudaCheckLaunch(name);
  runKernel<<<dim3(static_cast<unsigned>(plan.segments), columnBlocks), 32, 0, stream>>>(
      input.keys, positions, vocabulary, columns, partial, dweight.f32(), c.accumulate[0]);
  cudaCheckLaunch(name);
}

}  // namespace

void register_embedding_cuda(KernelRegistry& registry) {
  registry.add("embedding", embedding);
  registry.add("embedding_backward", embeddingBackward);
}

}  // namespace tesserae
