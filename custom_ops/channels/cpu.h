// The operations on channels on the CPU.

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

  Tiling tiles(int threads) const {
    return tiling(images_.batch, images_.channels, images_.height, images_.width, threads);
  }

  double cycles(const Tiling& tiling) const { return 4.0 * tiling.tile_height * tiling.tile_width; }

  template <class Scalar>
  ScaleChannelsJob<Scalar> job(const Tiling& tiling, const Arrays& arrays) const {
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

  // Whole images, so that sums do not depend on the number of threads.
  Tiling tiles(int) const {
    return {images_.batch, images_.channels, images_.height, images_.width, images_.height, images_.width};
  }

  double cycles(const Tiling& tiling) const { return 3.0 * tiling.tile_height * tiling.tile_width; }

  template <class Scalar>
  SumPixelsJob<Scalar> job(const Tiling& tiling, const Arrays& arrays) const {
    return {tiling, arrays.x, arrays.y, static_cast<Scalar*>(arrays.sums)};
  }

 private:
  ImageBatch images_;
};

using ScaleChannelsCpu = Tiled<ScaleChannelsOperation>;
using SumPixelsCpu = Tiled<SumPixelsOperation>;

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_CHANNELS_CPU_H_
