// The launcher of upfirdn2d. Filters are passed as kernel parameters: short ones in a small block of them, and up to
// kManyTaps in a large one (which needs compute capability 7.0 and a CUDA 12.1 driver). Returns kInvalidValue beyond
// that, for positions that need 64 bits, and if the neighborhood of even a single output does not fit into shared
// memory: beyond about 75 taps along both axes if a block may have 99 KiB, and about 100 if it may have 163.

#include "custom_ops/resampling/cuda/launch.h"

#include "custom_ops/upfirdn2d/cuda_plan.h"
#include "custom_ops/upfirdn2d/problem.h"

namespace sg3::cuda {
namespace {

constexpr int kFewTaps = 896, kManyTaps = 7936;

struct Tensors {
  const void* x;
  void* y;
  void* stream;
};

template <int... NUMBERS>
std::string text(FixedLine<NUMBERS...>) {
  return jit::type_text("FixedLine", NUMBERS...);
}

std::string text(AnyLine) { return "AnyLine"; }

template <int CAPACITY, class Line>
int launch_line(const Sg3Upfirdn2d& problem, const UpfirdnPlan& plan, Line line, const Tensors& t) {
  const jit::Variant variant = {"custom_ops/upfirdn2d/kernel.cu",
                                "upfirdn2d",
                                {{"SG3_LINE", text(line)}, {"SG3_TAPS", std::to_string(CAPACITY)}}};
  Taps<CAPACITY> taps;
  copy_taps(problem, plan, taps.at);
  return launch(variant, num_blocks(plan), plan.threads, plan.shared_floats, t.stream, plan, taps, t.x, t.y);
}

int launch_upfirdn2d(const Sg3Upfirdn2d& problem, int type, const Tensors& t) {
  if (problem.batch * problem.channels * problem.stage.y.out_size * problem.stage.x.out_size == 0) return kSuccess;
  if (!is_representable(problem.stage) || !is_supported(type)) {
    return fail(kInvalidValue, "not a valid problem for CUDA");
  }
  SharedLimits limits;
  int error = shared_limits(t.stream, &limits);
  if (error != kSuccess) return error;

  const bool vectors = problem.channels % (16 / bytes_of(type)) == 0 && is_aligned(t.x) && is_aligned(t.y);
  UpfirdnPlan plan = upfirdn_plan(problem, type, vectors);
  if (num_taps(plan) > kManyTaps || !choose_tiles(&plan, limits)) {
    return fail(kInvalidValue, "the filter is too long for the shared memory of a block");
  }
  if (num_taps(plan) > kFewTaps) return launch_line<kManyTaps>(problem, plan, AnyLine(), t);
  const auto launch_fixed = [&](auto line) { error = launch_line<kFewTaps>(problem, plan, line, t); };
  return with_fixed_line(plan, launch_fixed) ? error : launch_line<kFewTaps>(problem, plan, AnyLine(), t);
}

}  // namespace
}  // namespace sg3::cuda

extern "C" int sg3_cuda_upfirdn2d(const Sg3Upfirdn2d* problem, int type, const void* x, void* y, void* stream) {
  return sg3::cuda::launch_upfirdn2d(*problem, type, {x, y, stream});
}
