#include "custom_ops/filtered_lrelu/cpu.h"

#include "custom_ops/resampling/scratch.h"

namespace sg3 {

FilteredLreluCpu::FilteredLreluCpu(const Sg3FilteredLrelu& problem, Sg3Type type, int threads)
    : problem_(problem),
      type_(type),
      up_y_(problem.up.y, problem.up.terms, problem.up.taps_y),
      up_x_(problem.up.x, problem.up.terms, problem.up.taps_x),
      down_y_(problem.down.y, problem.down.terms, problem.down.taps_y),
      down_x_(problem.down.x, problem.down.terms, problem.down.taps_x),
      tiling_(tiling(problem.batch, problem.channels, problem.down.y.out_size, problem.down.x.out_size, threads)) {}

int64_t FilteredLreluCpu::tile_cycles() const {
  // One multiplication and addition of sixteen channels a cycle.
  const Sg3Stage &up = problem_.up, &down = problem_.down;
  double to_upsampled = up.terms * (1.0 * up.y.taps / (up.y.up * up.x.up) + 1.0 * up.x.taps / up.x.up);
  double from_upsampled = down.terms * (1.0 * down.x.taps + 1.0 * down.y.taps / down.y.down) / down.x.down;
  double upsampled = 1.0 * tiling_.tile_height * tiling_.tile_width * down.y.down * down.x.down;
  return static_cast<int64_t>(1 + upsampled * (to_upsampled + 4 + from_upsampled));
}

void FilteredLreluCpu::run(int64_t first, int64_t last, const void* x, const void* bias, void* y, void* mask) const {
  auto run_in = [&](auto scalar) {
    using Scalar = decltype(scalar);
    FilteredLreluJob<Scalar> job = {tiling_,
                                    up_y_.view<Scalar>(),
                                    up_x_.view<Scalar>(),
                                    down_y_.view<Scalar>(),
                                    down_x_.view<Scalar>(),
                                    static_cast<Scalar>(problem_.slope),
                                    static_cast<Scalar>(problem_.clamp),
                                    problem_.mode,
                                    x,
                                    bias,
                                    y,
                                    static_cast<uint32_t*>(mask)};
    Scratch scratch(SG3_DISPATCH(scratch_size, job) * sizeof(Scalar));
    SG3_DISPATCH(run, job, type_, first, last, scratch.get());
  };
  type_ == SG3_FLOAT64 ? run_in(double{}) : run_in(float{});
}

}  // namespace sg3
