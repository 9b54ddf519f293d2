#include "custom_ops/upfirdn2d/cpu.h"

#include "custom_ops/resampling/scratch.h"

namespace sg3 {

Upfirdn2dCpu::Upfirdn2dCpu(const Sg3Upfirdn2d& problem, Sg3Type type, int threads)
    : problem_(problem),
      type_(type),
      y_(problem.stage.y, problem.stage.terms, problem.stage.taps_y),
      x_(problem.stage.x, problem.stage.terms, problem.stage.taps_x),
      tiling_(tiling(problem.batch, problem.channels, problem.stage.y.out_size, problem.stage.x.out_size, threads)) {}

int64_t Upfirdn2dCpu::tile_cycles() const {
  // One multiplication and addition of sixteen channels a cycle; the vertical pass comes first.
  const Sg3Stage& s = problem_.stage;
  double vertical = s.terms * (1.0 * s.y.taps / s.y.up) * s.x.down / s.x.up, horizontal = s.terms * s.x.taps / s.x.up;
  return static_cast<int64_t>(1 + tiling_.tile_height * tiling_.tile_width * (vertical + horizontal + 2));
}

void Upfirdn2dCpu::run(int64_t first, int64_t last, const void* x, void* y) const {
  auto run_in = [&](auto scalar) {
    using Scalar = decltype(scalar);
    Upfirdn2dJob<Scalar> job = {tiling_, y_.view<Scalar>(), x_.view<Scalar>(), x, y};
    Scratch scratch(SG3_DISPATCH(scratch_size, job) * sizeof(Scalar));
    SG3_DISPATCH(run, job, type_, first, last, scratch.get());
  };
  type_ == SG3_FLOAT64 ? run_in(double{}) : run_in(float{});
}

}  // namespace sg3
