// How the CUDA kernels of embedding_backward use their workspace: token positions sorted by id, then sums of
// runs of equal ids. Contract and kernels agree on it here.
#pragma once

#include <cstdint>

namespace tesserae {

struct EmbeddingSort {
  static constexpr int64_t kTile = 1024;   // positions that a block sorts: fewer than a uint16 counts
  static constexpr int64_t kSegment = 32;  // sorted positions that one warp sums, a lane knowing each

  EmbeddingSort(int64_t positions, int64_t vocabulary, int64_t columns)
      : tiles((positions + kTile - 1) / kTile), segments((positions + kSegment - 1) / kSegment) {
    // Ids run from 0 to `vocabulary`, which means any id out of range.
    int bits = 0;
    for (int64_t most = vocabulary; most > 0; most >>= 1) ++bits;
    passes = (bits + 8) / 9;
    digitBits = (bits + 7) / 8 == passes ? 8 : 9;
    const auto place = [&](int64_t size) {
      const int64_t here = bytes;
      bytes += (size + 255) / 256 * 256;
      return here;
    };
    for (int i = 0; i < 2; ++i) {
      keys[i] = place(positions * 4);
      values[i] = place(positions * 4);
    }
    histogram = place((tiles << digitBits) * 2);
    partial = place(2 * segments * columns * 4);
  }

  int64_t tiles, segments;
  int passes, digitBits;  // digits of an id, the lowest first, and their bits: two up to 262,143 ids
  // Byte offsets. Pass i writes keys[i % 2] and values[i % 2]: (positions) uint32 each.
  int64_t keys[2], values[2];
  int64_t histogram;  // (tiles, 2^digitBits) uint16
  int64_t partial;    // (segments, 2, columns) fp32: of a long run that enters a segment, of one that leaves
  int64_t bytes = 0;
};

}  // namespace tesserae
