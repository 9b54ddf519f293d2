// upfirdn2d on the CPU.

#ifndef SG3TF_CUSTOM_OPS_UPFIRDN2D_CPU_H_
#define SG3TF_CUSTOM_OPS_UPFIRDN2D_CPU_H_

#include "custom_ops/resampling/cpu/tiled.h"
#include "custom_ops/upfirdn2d/job.h"
#include "custom_ops/upfirdn2d/problem.h"

namespace sg3 {

class Upfirdn2dOperation {
 public:
  using Problem = Sg3Upfirdn2d;
  using Arrays = Upfirdn2dArrays;

  explicit Upfirdn2dOperation(const Sg3Upfirdn2d& problem)
      : problem_(problem),
        y_(problem.stage.y, problem.stage.terms, problem.stage.taps_y),
        x_(problem.stage.x, problem.stage.terms, problem.stage.taps_x) {}

  Tiling tiles(int threads) const {
    return tiling(problem_.batch, problem_.channels, problem_.stage.y.out_size, problem_.stage.x.out_size, threads);
  }

  // Assumes one multiplication and addition of sixteen channels per cycle; the vertical pass comes first.
  double cycles(const Tiling& tiling) const {
    const Sg3Stage& s = problem_.stage;
    const double vertical = s.terms * (1.0 * s.y.taps / s.y.up) * s.x.down / s.x.up;
    const double horizontal = s.terms * s.x.taps / s.x.up;
    return tiling.tile_height * tiling.tile_width * (vertical + horizontal + 2);
  }

  template <class Scalar>
  Upfirdn2dJob<Scalar> job(const Tiling& tiling, const Upfirdn2dArrays& arrays) const {
    return {tiling, y_.view<Scalar>(), x_.view<Scalar>(), arrays.x, arrays.y};
  }

 private:
  Sg3Upfirdn2d problem_;
  Polyphase y_, x_;
};

using Upfirdn2dCpu = Tiled<Upfirdn2dOperation>;

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_UPFIRDN2D_CPU_H_
