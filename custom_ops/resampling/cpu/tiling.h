// Divides the work into tiles, which threads share.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CPU_TILING_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CPU_TILING_H_

#include <stdint.h>

#include "custom_ops/resampling/stage.h"

namespace sg3 {

constexpr int64_t kBlock = 16;  // channels computed together

// The place of a tile.
struct Tile {
  int64_t image, block;                    // in the batch; of channels
  int64_t y_begin, y_end, x_begin, x_end;  // outputs
};

// Plain data, always inlined: see polyphase.h.
struct Tiling {
  int64_t batch, channels, out_height, out_width;
  int64_t tile_height, tile_width;

  SG3_INLINE int64_t blocks() const { return (channels + kBlock - 1) / kBlock; }
  SG3_INLINE int64_t columns() const { return (out_width + tile_width - 1) / tile_width; }
  SG3_INLINE int64_t lines() const { return (out_height + tile_height - 1) / tile_height; }
  SG3_INLINE int64_t tiles() const { return batch * blocks() * lines() * columns(); }

  SG3_INLINE Tile tile(int64_t index) const {
    Tile t;
    // Channels vary fastest, so that their neighbors in memory are still in a cache.
    t.block = index % blocks();
    index /= blocks();
    t.x_begin = index % columns() * tile_width;
    t.x_end = t.x_begin + tile_width < out_width ? t.x_begin + tile_width : out_width;
    index /= columns();
    t.y_begin = index % lines() * tile_height;
    t.y_end = t.y_begin + tile_height < out_height ? t.y_begin + tile_height : out_height;
    t.image = index / lines();
    return t;
  }
};

// Tiles stream through their rows, so tall and wide tiles cost least. But a tile's rows should stay in the second-level
// cache, and with several tiles per thread, all threads finish at about the same time.
inline Tiling tiling(int64_t batch, int64_t channels, int64_t out_height, int64_t out_width, int threads) {
  constexpr int64_t kWidth = 160, kColumns = 8, kMinHeight = 16, kTilesPerThread = 8;
  int64_t columns = out_width > kWidth ? (out_width + kWidth - 1) / kWidth : 1;
  int64_t width = (out_width + columns - 1) / columns;
  int64_t rounded = (width + kColumns - 1) / kColumns * kColumns;  // groups computed together: see fir.h
  Tiling t = {batch, channels, out_height, out_width, out_height > 0 ? out_height : 1, rounded > 0 ? rounded : 1};
  while (t.tiles() < kTilesPerThread * threads && t.tile_height >= 2 * kMinHeight) {
    t.tile_height = (t.tile_height + 1) / 2;
  }
  return t;
}

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CPU_TILING_H_
