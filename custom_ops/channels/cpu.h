// The channel operations on the CPU.

#ifndef SG3TF_CUSTOM_OPS_CHANNELS_CPU_H_
#define SG3TF_CUSTOM_OPS_CHANNELS_CPU_H_

#include "custom_ops/channels/job.h"
#include "custom_ops/channels/problem.h"
#include "custom_ops/resampling/cpu/tiled.h"

namespace sg3 {

class ScaleChannelsOperation {
 public:
  using Problem = ImageBatch;
  using Arrays = ScaleChannelsArrays;

  explicit ScaleChannelsOperation(const ImageBatch& images) : images_(images) {}

  // Several tiles per thread, so that all threads finish at about the same time.
  RowTiling tiles(int threads) const {
    constexpr int64_t kTilesPerThread = 8;
    const int64_t rows = images_.batch * images_.height, tiles = kTilesPerThread * threads;
    return {images_, rows > tiles ? rows / tiles : 1};
  }

  double cycles(const RowTiling& tiling) const { return 0.2 * tiling.tile_rows * images_.width * images_.channels; }

  template <class Scalar>
  ScaleChannelsJob<Scalar> job(const RowTiling& tiling, const Arrays& arrays) const {
    return {tiling, arrays.x, static_cast<const Scalar*>(arrays.factors), arrays.y};
  }

 private:
  ImageBatch images_;
};

class SumPixelsOperation {
 public:
  using Problem = ImageBatch;
  using Arrays = SumPixelsArrays;

  explicit SumPixelsOperation(const ImageBatch& images) : images_(images) {}

  ChannelTiling tiles(int) const { return {images_}; }

  double cycles(const ChannelTiling&) const { return 0.2 * images_.height * images_.width * ChannelTiling::kChannels; }

  template <class Scalar>
  SumPixelsJob<Scalar> job(const ChannelTiling& tiling, const Arrays& arrays) const {
    return {tiling, arrays.x, arrays.y, static_cast<Scalar*>(arrays.sums)};
  }

 private:
  ImageBatch images_;
};

using ScaleChannelsCpu = Tiled<ScaleChannelsOperation>;
using SumPixelsCpu = Tiled<SumPixelsOperation>;

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_CHANNELS_CPU_H_
