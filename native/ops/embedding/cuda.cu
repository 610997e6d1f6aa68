#include <type_traits>

#include "ops/cuda_support.cuh"
#include "ops/embedding/plan.h"
#include "ops/registry.h"

namespace tesserae {

namespace {

constexpr int kThreads = 256;
constexpr int kSortThreads = 512;
constexpr int kSortWarps = kSortThreads / 32;
constexpr int kTile = EmbeddingSort::kTile;
constexpr int kGroups = kTile / kSortThreads;  // groups of 32 positions, one after the other, of a warp
constexpr int kSegment = EmbeddingSort::kSegment;
constexpr int kSegmentThreads = 128;
constexpr int kRunThreads = 256;
constexpr int kBoundaries = 8;  // between segments, that a block looks at
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

// --- Gradient of the table ---

// A stable sort by id (least significant digit first) keeps the positions of an id in order. Then each warp
// sums kSegment sorted positions, so work is even however often a token occurs.

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

// histogram (tiles, bins): how many keys of a tile have that digit. Counts of integers do not depend on their
// order.
template <int kBins>
__global__ void __launch_bounds__(kSortThreads)
    histogramKernel(SortInput input, uint32_t positions, int shift, uint16_t* histogram) {
  __shared__ uint32_t counts[kBins];
  for (int bin = threadIdx.x; bin < kBins; bin += kSortThreads) counts[bin] = 0;
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < kTile; i += kSortThreads) {
    const uint32_t at = blockIdx.x * kTile + i;
    if (at < positions) atomicAdd(&counts[input.key(at) >> shift & (kBins - 1)], 1u);
  }
  __syncthreads();
  for (int bin = threadIdx.x; bin < kBins; bin += kSortThreads) {
    histogram[blockIdx.x * kBins + bin] = static_cast<uint16_t>(counts[bin]);
  }
}

// Moves each key and value to its place: behind all smaller digits, the same digit in earlier tiles, and in
// its tile in earlier warps, groups and lanes.
template <int kBins>
__global__ void __launch_bounds__(kSortThreads)
    scatterKernel(SortInput input, uint32_t positions, int shift, const uint16_t* histogram, uint32_t* keys,
                  uint32_t* values) {
  constexpr int kShares = kSortThreads / kBins;  // threads of a bin, which share out the tiles
  __shared__ uint32_t next[kSortWarps][kBins];   // the place of a warp's next key with a digit
  __shared__ uint32_t warpTotals[kSortWarps];
  __shared__ uint2 shares[kSortThreads];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, bin = threadIdx.x % kBins;
  for (int i = threadIdx.x; i < kSortWarps * kBins; i += kSortThreads) next[i / kBins][i % kBins] = 0;
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

  uint32_t before = 0, total = 0;  // of this thread's bin: in earlier tiles, in all
  constexpr int kAhead = 16;       // loads on their way at a time
  for (uint32_t start = threadIdx.x / kBins; start < gridDim.x; start += kAhead * kShares) {
    uint32_t counts[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      const uint32_t tile = start + j * kShares;
      counts[j] = tile < gridDim.x ? histogram[tile * kBins + bin] : 0;
    }
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      before += start + j * kShares < blockIdx.x ? counts[j] : 0;
      total += counts[j];
    }
  }
  shares[threadIdx.x] = {before, total};
  __syncthreads();
  before = total = 0;
  if (threadIdx.x < kBins) {
    for (int i = 0; i < kShares; ++i) {
      before += shares[i * kBins + bin].x;
      total += shares[i * kBins + bin].y;
    }
  }
  uint32_t upTo = total;  // inclusive sum over the bins of the warp, then of the block
#pragma unroll
  for (int offset = 1; offset < 32; offset *= 2) {
    const uint32_t other = __shfl_up_sync(kAll, upTo, offset);
    if (lane >= offset) upTo += other;
  }
  if (lane == 31) warpTotals[warp] = upTo;
  __syncthreads();
  if (threadIdx.x < kBins) {
    uint32_t place = upTo - total + before;
    for (int w = 0; w < warp; ++w) place += warpTotals[w];
    for (int w = 0; w < kSortWarps; ++w) {
      const uint32_t count = next[w][bin];
      next[w][bin] = place;
      place += count;
    }
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

// Whether the run of one id across `boundary` lies in the two segments next to it. Then the first segment's
// warp sums it; only longer runs are split.
__device__ __forceinline__ bool liesInTwo(const uint32_t* keys, uint32_t positions, uint32_t boundary,
                                          uint32_t key) {
  return (boundary == kSegment || keys[boundary - kSegment - 1] != key) &&
         (positions - boundary <= kSegment || keys[boundary + kSegment] != key);
}

// Rows of the table that no position uses become zero. Each lane looks one row up among the sorted keys; then
// the warp writes zeros to those of its 32 rows that are missing.
__device__ __forceinline__ void zeroAbsent(const uint32_t* keys, uint32_t positions, uint32_t vocabulary,
                                           uint32_t block, int32_t tableRows, int32_t columns,
                                           float* dweight) {
  const int lane = threadIdx.x % 32;
  const int32_t first = static_cast<int32_t>(block * kSegmentThreads + threadIdx.x) - lane;
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
  // The key `vocabulary` means an id out of range, not the first row of padding.
  const bool absent = first + lane < tableRows && (row >= vocabulary || low == positions || keys[low] != row);
  const float zero[kVector] = {};
  for (unsigned left = __ballot_sync(kAll, absent); left != 0; left &= left - 1) {
    float* to = dweight + static_cast<int64_t>(first + __ffs(left) - 1) * columns;
    for (int32_t column = lane * kVector; column < columns; column += 32 * kVector)
      storeVector(to + column, zero);
  }
}

// A warp sums 8 × 32 columns of the rows of a segment of sorted positions, in order: the runs of one id that
// start in it and end in it or in the next one go to the table; of longer runs its part goes to `partial`.
// Blocks before those of segments write the rows of the table that are in no run, unless sums are added.
template <class T, bool kAccumulate>
__global__ void __launch_bounds__(kSegmentThreads, 8)
    segmentKernel(const T* dy, const uint32_t* keys, const uint32_t* values, uint32_t positions,
                  uint32_t vocabulary, uint32_t zeroBlocks, int32_t tableRows, int32_t columns,
                  float* partial, float* dweight) {
  // Rows of dy, and the table rows that they add to, in flight. More were slower (H100, 131,072 positions of
  // 768 columns, µs with 2, 4 and 8: 136, 135, 175): registers and code are better spent on more warps.
  constexpr int kAhead = kAccumulate ? 2 : 4;
  constexpr uint32_t kEnd = 1u << 31;                           // of a key: its run ends here
  __shared__ uint2 sorted[kSegmentThreads / 32][2 * kSegment];  // {position, key}
  if (!kAccumulate && blockIdx.x < zeroBlocks) {
    zeroAbsent(keys, positions, vocabulary, blockIdx.x, tableRows, columns, dweight);
    return;
  }
  const int lane = threadIdx.x % 32;
  const uint32_t warp = (blockIdx.x - zeroBlocks) * (kSegmentThreads / 32) + threadIdx.x / 32;
  const uint32_t columnBlocks = static_cast<uint32_t>(divideUp(columns, 32 * kVector));
  const uint32_t segment = warp / columnBlocks, part = warp % columnBlocks;
  const uint32_t first = segment * kSegment;
  if (first >= positions) return;
  const auto keyAt = [&](uint32_t at) { return at < positions ? keys[at] : kNoKey; };
  const auto valueAt = [&](uint32_t at) { return at < positions ? values[at] : 0; };
  const uint32_t key = keyAt(first + lane), tailKey = keyAt(first + kSegment + lane);
  const uint32_t firstKey = __shfl_sync(kAll, key, 0), lastKey = __shfl_sync(kAll, key, 31);
  const uint32_t below = __shfl_down_sync(kAll, key, 1), after = __shfl_sync(kAll, tailKey, 0);
  // Positions from i to count, including the next segment's. Ids out of range come last.
  int i = 0, count = __popc(__ballot_sync(kAll, key < vocabulary));
  bool entered = first > 0 && keys[first - 1] == firstKey;  // by a run of the segment before
  if (entered && liesInTwo(keys, positions, first, firstKey)) {
    i = __popc(__ballot_sync(kAll, key == firstKey));
    entered = false;
  }
  if (lastKey < vocabulary && lastKey == after && liesInTwo(keys, positions, first + kSegment, lastKey)) {
    count += __popc(__ballot_sync(kAll, tailKey == lastKey));
  }
  uint2* const mine = sorted[threadIdx.x / 32];
  mine[lane] = {valueAt(first + lane), key | ((lane < 31 ? below : after) != key ? kEnd : 0)};
  mine[kSegment + lane] = {valueAt(first + kSegment + lane),
                           tailKey | (kSegment + lane + 1 == count ? kEnd : 0)};
  __syncwarp();
  const int32_t column = static_cast<int32_t>(part * 32 + lane) * kVector;
  if (column >= columns) return;
  const auto rowOf = [&](uint32_t id) { return dweight + static_cast<int64_t>(id) * columns + column; };
  float* entering = partial + static_cast<int64_t>(segment) * 2 * columns + column;
  float* leaving = entering + columns;
  float sum[kVector] = {};
  for (; i < count; i += kAhead) {
    Packed<T> rows[kAhead];
    Packed<float> table[kAhead];
    uint32_t ids[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      if (i + j >= count) break;
      const uint2 one = mine[i + j];
      ids[j] = one.y;
      rows[j] = loadPacked(dy + static_cast<int64_t>(one.x) * columns + column);
      if (kAccumulate && ids[j] & kEnd) table[j] = loadPacked(rowOf(ids[j] & ~kEnd));
    }
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      if (i + j >= count) break;
#pragma unroll
      for (int k = 0; k < kVector; ++k) sum[k] += toFloat(rows[j].v[k]);
      const bool end = ids[j] & kEnd;
      if (!end && i + j + 1 < count) continue;
      if (kAccumulate && end && !entered) {
#pragma unroll
        for (int k = 0; k < kVector; ++k) sum[k] += table[j].v[k];
      }
      storeVector(entered ? entering : end ? rowOf(ids[j] & ~kEnd) : leaving, sum);
      entered = false;
#pragma unroll
      for (int k = 0; k < kVector; ++k) sum[k] = 0;
    }
  }
}

// The split runs. Each lane looks for one that starts in the segment before its boundary and leaves it. The
// warps of the block share its parts, and one warp adds their sums in order.
__global__ void __launch_bounds__(kRunThreads)
    runKernel(const uint32_t* keys, uint32_t positions, uint32_t vocabulary, uint32_t segments,
              int32_t columns, const float* partial, float* dweight, bool accumulate) {
  constexpr int kAhead = 8, kWarps = kRunThreads / 32;  // parts in flight
  __shared__ Packed<float> sums[kWarps][32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int32_t column = static_cast<int32_t>(blockIdx.y * 32 + lane) * kVector;
  const uint32_t entered = blockIdx.x * kBoundaries + lane + 1, boundary = entered * kSegment;
  bool found = false;
  uint32_t mine = kNoKey, mineLast = 0;
  if (lane < kBoundaries && entered < segments) {
    mine = keys[boundary];
    found = mine != vocabulary && keys[boundary - 1] == mine &&
            (entered == 1 || keys[boundary - kSegment - 1] != mine) &&
            !liesInTwo(keys, positions, boundary, mine);
  }
  if (found) {  // the last segment that the run enters: in growing steps, then in halves
    const auto enters = [&](uint32_t s) { return s < segments && keys[s * kSegment] == mine; };
    uint32_t step = 1;
    mineLast = entered;
    for (; enters(mineLast + step); step *= 2) mineLast += step;
    for (; step > 0; step /= 2) mineLast += enters(mineLast + step) ? step : 0;
  }
  for (unsigned left = __ballot_sync(kAll, found); left != 0; left &= left - 1) {
    const int from = __ffs(left) - 1;
    const uint32_t key = __shfl_sync(kAll, mine, from);
    const uint32_t second = __shfl_sync(kAll, entered, from), last = __shfl_sync(kAll, mineLast, from);
    // Part 0 leaves segment second - 1; part i enters segment second - 1 + i.
    const uint32_t parts = last - second + 2, share = (parts + kWarps - 1) / kWarps;
    const uint32_t end = (warp + 1) * share < parts ? (warp + 1) * share : parts;
    Packed<float> sum{};
    for (uint32_t start = warp * share; start < end && column < columns; start += kAhead) {
      Packed<float> some[kAhead];
#pragma unroll
      for (int j = 0; j < kAhead; ++j) {
        const int64_t row = (static_cast<int64_t>(second) - 1 + start + j) * 2 + (start + j == 0 ? 1 : 0);
        if (start + j < end) some[j] = loadPacked(partial + row * columns + column);
      }
#pragma unroll
      for (int j = 0; j < kAhead; ++j) {
        if (start + j >= end) break;
#pragma unroll
        for (int i = 0; i < kVector; ++i) sum.v[i] += some[j].v[i];
      }
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && column < columns) {
      for (int w = 1; w < kWarps; ++w) {
#pragma unroll
        for (int i = 0; i < kVector; ++i) sum.v[i] += sums[w][lane].v[i];
      }
      float* to = dweight + static_cast<int64_t>(key) * columns + column;
      if (accumulate) {
        float old[kVector];
        loadVector(to, old);
#pragma unroll
        for (int i = 0; i < kVector; ++i) sum.v[i] += old[i];
      }
      storePacked(to, sum);
    }
    __syncthreads();
  }
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
  uint16_t* histogram = reinterpret_cast<uint16_t*>(workspace + plan.histogram);
  for (int pass = 0; pass < plan.passes; ++pass) {
    const int shift = pass * plan.digitBits, to = pass % 2;
    const auto sort = [&](auto bins) {
      constexpr int kBins = decltype(bins)::value;
      histogramKernel<kBins><<<tiles, kSortThreads, 0, stream>>>(input, positions, shift, histogram);
      cudaCheckLaunch(name);
      scatterKernel<kBins><<<tiles, kSortThreads, 0, stream>>>(input, positions, shift, histogram,
                                                               words(plan.keys[to]), words(plan.values[to]));
      cudaCheckLaunch(name);
    };
    if (plan.digitBits == 8) {
      sort(std::integral_constant<int, 1 << 8>{});
    } else {
      sort(std::integral_constant<int, 1 << 9>{});
    }
    input = {nullptr, words(plan.keys[to]), words(plan.values[to]), vocabulary};
  }
  const int32_t tableRows = static_cast<int32_t>(dweight.rows);
  const unsigned zeroBlocks =
      c.accumulate[0] ? 0 : static_cast<unsigned>(divideUp(tableRows, kSegmentThreads));
  const int64_t columnBlocks = divideUp(columns, 32 * kVector);
  const unsigned segmentBlocks =
      static_cast<unsigned>(divideUp(plan.segments * columnBlocks, kSegmentThreads / 32));
  dispatchActivationType(dy.dtype, name, [&](auto tag) {
    using T = typename decltype(tag)::Type;
    const auto kernel = c.accumulate[0] ? segmentKernel<T, true> : segmentKernel<T, false>;
    kernel<<<zeroBlocks + segmentBlocks, kSegmentThreads, 0, stream>>>(
        static_cast<const T*>(dy.data), input.keys, input.values, positions, vocabulary, zeroBlocks,
        tableRows, columns, partial, dweight.f32());
  });
  cudaCheckLaunch(name);
  const dim3 boundaries(static_cast<unsigned>(divideUp(plan.segments, kBoundaries)),
                        static_cast<unsigned>(columnBlocks));
  runKernel<<<boundaries, kRunThreads, 0, stream>>>(input.keys, positions, vocabulary,
                                                    static_cast<uint32_t>(plan.segments), columns, partial,
                                                    dweight.f32(), c.accumulate[0]);
  cudaCheckLaunch(name);
}

}  // namespace

void register_embedding_cuda(KernelRegistry& registry) {
  registry.add("embedding", embedding);
  registry.add("embedding_backward", embeddingBackward);
}

}  // namespace tesserae
