// Filtered leaky ReLU on the CPU.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CPU_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CPU_H_

#include "custom_ops/filtered_lrelu/job.h"
#include "custom_ops/filtered_lrelu/problem.h"
#include "custom_ops/resampling/cpu/tiled.h"

namespace sg3 {

class FilteredLreluOperation {
 public:
  using Problem = Sg3FilteredLrelu;
  using Arrays = FilteredLreluArrays;

  explicit FilteredLreluOperation(const Sg3FilteredLrelu& problem)
      : problem_(problem),
        up_y_(problem.up.y, problem.up.terms, problem.up.taps_y),
        up_x_(problem.up.x, problem.up.terms, problem.up.taps_x),
        down_y_(problem.down.y, problem.down.terms, problem.down.taps_y),
        down_x_(problem.down.x, problem.down.terms, problem.down.taps_x) {}

  Tiling tiles(int threads) const {
    return tiling(problem_.batch, problem_.channels, problem_.down.y.out_size, problem_.down.x.out_size, threads);
  }

  // Assumes one multiplication and addition of sixteen channels per cycle.
  double cycles(const Tiling& tiling) const {
    const Sg3Stage &up = problem_.up, &down = problem_.down;
    const double to_upsampled = up.terms * (1.0 * up.y.taps / (up.y.up * up.x.up) + 1.0 * up.x.taps / up.x.up);
    const double from_upsampled = down.terms * (1.0 * down.x.taps + 1.0 * down.y.taps / down.y.down) / down.x.down;
    const double upsampled = 1.0 * tiling.tile_height * tiling.tile_width * down.y.down * down.x.down;
    return upsampled * (to_upsampled + 4 + from_upsampled);
  }

  template <class Scalar>
  FilteredLreluJob<Scalar> job(const Tiling& tiling, const FilteredLreluArrays& arrays) const {
    return {tiling,
            up_y_.view<Scalar>(),
            up_x_.view<Scalar>(),
            down_y_.view<Scalar>(),
            down_x_.view<Scalar>(),
            static_cast<Scalar>(problem_.slope),
            static_cast<Scalar>(problem_.clamp),
            problem_.mode,
            arrays.x,
            arrays.bias,
            arrays.y,
            static_cast<uint32_t*>(arrays.mask)};
  }

 private:
  Sg3FilteredLrelu problem_;
  Polyphase up_y_, up_x_, down_y_, down_x_;
};

using FilteredLreluCpu = Tiled<FilteredLreluOperation>;

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CPU_H_
