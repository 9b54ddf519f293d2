// The launcher of filtered_lrelu. Filters are passed as kernel parameters: those of StyleGAN3 in a small block of them,
// and up to kManyTaps in a large one (which needs compute capability 7.0 and a CUDA 12.1 driver). Returns kInvalidValue
// beyond that, for positions that need 64 bits, and if the neighborhood of even a single output does not fit into
// shared memory: beyond about 28 taps after the nonlinearity if a block may have 99 KiB, and about 40 if it may have
// 227.

#include "custom_ops/resampling/cuda/launch.h"

#include "custom_ops/filtered_lrelu/cuda_plan.h"
#include "custom_ops/filtered_lrelu/problem.h"

namespace sg3::cuda {
namespace {

constexpr int kFewTaps = 896, kManyTaps = 7936;

struct Tensors {
  const void *x, *bias;
  void* y;
  uint32_t* mask;
  void* stream;
};

template <int... NUMBERS>
std::string text(FixedShape<NUMBERS...>) {
  return jit::type_text("FixedShape", NUMBERS...);
}

std::string text(AnyShape) { return "AnyShape"; }

template <int CAPACITY, class Shape>
int launch_taps(const Sg3FilteredLrelu& problem, const LreluPlan& plan, Shape shape, const Tensors& t) {
  const jit::Variant variant = {
      "custom_ops/filtered_lrelu/kernel.cu",
      "filtered_lrelu",
      {{"SG3_SHAPE", text(shape)}, {"SG3_MODE", std::to_string(plan.mode)}, {"SG3_TAPS", std::to_string(CAPACITY)}}};
  Taps<CAPACITY> taps;
  copy_taps(problem, plan, taps.at);
  return launch(variant, num_blocks(plan), plan.threads, plan.shared_floats, t.stream, plan, taps, t.x, t.bias, t.y,
                t.mask);
}

template <class Shape>
int launch_shape(const Sg3FilteredLrelu& problem, LreluPlan plan, Shape shape, const SharedLimits& limits,
                 const Tensors& t) {
  if (num_taps(plan) > kManyTaps || !choose_tiles<Shape>(&plan, limits)) {
    return fail(kInvalidValue, "the filters are too long for the shared memory of a block");
  }
  return num_taps(plan) <= kFewTaps ? launch_taps<kFewTaps>(problem, plan, shape, t)
                                    : launch_taps<kManyTaps>(problem, plan, shape, t);
}

bool is_valid(const Sg3FilteredLrelu& p, int type, const Tensors& t) {
  const bool has_mode = p.mode == SG3_ACTIVATE || p.mode == SG3_ACTIVATE_AND_MASK || p.mode == SG3_APPLY_MASK;
  const bool has_mask = p.mode == SG3_ACTIVATE || t.mask;
  const bool has_factors = p.up.y.down == 1 && p.up.x.down == 1 && p.down.y.up == 1 && p.down.x.up == 1;
  const bool fits = p.down.y.in_size == p.up.y.out_size && p.down.x.in_size == p.up.x.out_size;
  return has_mode && has_mask && has_factors && fits && is_supported(type) && is_representable(p.up) &&
         is_representable(p.down);
}

int launch_filtered_lrelu(const Sg3FilteredLrelu& problem, int type, const Tensors& t) {
  if (problem.batch * problem.channels * problem.down.y.out_size * problem.down.x.out_size == 0) return kSuccess;
  if (!is_valid(problem, type, t)) return fail(kInvalidValue, "not a valid problem for CUDA");
  SharedLimits limits;
  int error = shared_limits(t.stream, &limits);
  if (error != kSuccess) return error;
  const bool vectors = problem.channels % (16 / bytes_of(type)) == 0 && is_aligned(t.x) && is_aligned(t.y);

  LreluPlan plan = lrelu_plan(problem, type, vectors, true);
  const auto launch_fixed = [&](auto shape, auto) { error = launch_shape(problem, plan, shape, limits, t); };
  if (num_taps(plan) <= kFewTaps && with_fixed_shape(plan, launch_fixed)) return error;
  return launch_shape(problem, lrelu_plan(problem, type, vectors, false), AnyShape(), limits, t);
}

}  // namespace
}  // namespace sg3::cuda

extern "C" int sg3_cuda_filtered_lrelu(const Sg3FilteredLrelu* problem, int type, const void* x, const void* bias,
                                       void* y, void* mask, void* stream) {
  return sg3::cuda::launch_filtered_lrelu(*problem, type, {x, bias, y, static_cast<uint32_t*>(mask), stream});
}
