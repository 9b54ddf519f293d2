// Plain data for the CPU kernels of the channel operations.

#ifndef SG3TF_CUSTOM_OPS_CHANNELS_JOB_H_
#define SG3TF_CUSTOM_OPS_CHANNELS_JOB_H_

#include "custom_ops/channels/problem.h"
#include "custom_ops/resampling/cpu/isa.h"

namespace sg3 {

// Whole rows of images, with all channels of each pixel. They are contiguous in memory.
struct RowTile {
  int64_t begin, end;  // rows, numbered across the batch
};

struct RowTiling {
  ImageBatch images;
  int64_t tile_rows;

  SG3_INLINE int64_t tiles() const { return (images.batch * images.height + tile_rows - 1) / tile_rows; }
  SG3_INLINE RowTile tile(int64_t index) const {
    const int64_t begin = index * tile_rows, end = begin + tile_rows, rows = images.batch * images.height;
    return {begin, end < rows ? end : rows};
  }
};

// A range of channels of a whole image, so that no sum depends on another tile.
struct ChannelTile {
  int64_t image, begin, end;  // channels
};

struct ChannelTiling {
  static constexpr int64_t kChannels = 64;

  ImageBatch images;

  SG3_INLINE int64_t groups() const { return (images.channels + kChannels - 1) / kChannels; }
  SG3_INLINE int64_t tiles() const { return images.batch * groups(); }
  SG3_INLINE ChannelTile tile(int64_t index) const {
    const int64_t begin = index % groups() * kChannels, end = begin + kChannels;
    return {index / groups(), begin, end < images.channels ? end : images.channels};
  }
};

template <class Scalar>
struct ScaleChannelsJob {
  RowTiling tiling;
  const void* x;
  const Scalar* factors;
  void* y;
};

template <class Scalar>
struct SumPixelsJob {
  ChannelTiling tiling;
  const void *x, *y;
  Scalar* sums;
};

SG3_DECLARE_KERNEL(ScaleChannelsJob<float>)
SG3_DECLARE_KERNEL(ScaleChannelsJob<double>)
SG3_DECLARE_KERNEL(SumPixelsJob<float>)
SG3_DECLARE_KERNEL(SumPixelsJob<double>)

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_CHANNELS_JOB_H_
