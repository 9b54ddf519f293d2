// The launcher of filtered_lrelu, with one kernel for the filters of StyleGAN3, one for no filters, and one for
// everything else. Filters are passed as kernel parameters: usual ones in a small block of parameters, and up to
// kManyTaps in a large one (which needs compute capability 7.0 and a CUDA 12.1 driver). Returns kInvalidValue for more
// taps, for positions that need 64 bits, and if the neighborhood of even a single output does not fit into shared
// memory: beyond about 28 taps after the nonlinearity if a block may have 99 KiB, and about 40 if it may have 227.

#include "custom_ops/resampling/cuda/launch.h"

#include "custom_ops/filtered_lrelu/cuda_plan.h"
#include "custom_ops/filtered_lrelu/cuda_pointwise_plan.h"
#include "custom_ops/filtered_lrelu/cuda_sweep_plan.h"
#include "custom_ops/filtered_lrelu/launch_check.h"
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

template <int CAPACITY>
int launch_taps(const Sg3FilteredLrelu& problem, const LreluPlan& plan, const Tensors& t) {
  const jit::Variant variant = {"custom_ops/filtered_lrelu/kernel.cu",
                                "filtered_lrelu",
                                {{"SG3_MODE", std::to_string(plan.mode)}, {"SG3_TAPS", std::to_string(CAPACITY)}}};
  Taps<CAPACITY> taps;
  copy_taps(problem, plan, taps.at);
  return launch(variant, num_blocks(plan), plan.threads, plan.shared_floats, t.stream, plan, taps, t.x, t.bias, t.y,
                t.mask);
}

int launch_any(const Sg3FilteredLrelu& problem, int type, const SharedLimits& limits, const Tensors& t) {
  const bool vectors = problem.channels % (16 / bytes_of(type)) == 0 && is_aligned(t.x) && is_aligned(t.y);
  LreluPlan plan = lrelu_plan(problem, type, vectors);
  if (num_taps(plan) > kManyTaps || !choose_tiles(&plan, limits)) {
    return fail(kInvalidValue, "the filters are too long for the shared memory of a block");
  }
  return num_taps(plan) <= kFewTaps ? launch_taps<kFewTaps>(problem, plan, t)
                                    : launch_taps<kManyTaps>(problem, plan, t);
}

std::string text_of_type(int type) { return type == SG3_FLOAT32 ? "float" : type == SG3_FLOAT16 ? "Half" : "BFloat16"; }

int launch_pointwise(const Sg3FilteredLrelu& problem, int type, const Tensors& t) {
  const jit::Variant variant = {"custom_ops/filtered_lrelu/kernel_pointwise.cu",
                                "filtered_lrelu_pointwise",
                                {{"SG3_TYPE", text_of_type(type)}, {"SG3_MODE", std::to_string(problem.mode)}}};
  const PointwisePlan plan = pointwise_plan(problem);
  const int64_t blocks = (plan.words + kPointwiseThreads - 1) / kPointwiseThreads;
  return launch(variant, blocks, kPointwiseThreads, 0, t.stream, plan, t.x, t.bias, t.y, t.mask);
}

int launch_sweep(const Sg3FilteredLrelu& problem, int type, const SweepShape& shape, const SweepPlan& plan,
                 const Tensors& t) {
  const std::string element = text_of_type(type);
  const int width = problem.channels % 4 == 0 && is_aligned(t.x) && is_aligned(t.y) ? 4 : 1;
  const jit::Variant variant = {
      "custom_ops/filtered_lrelu/kernel_sweep.cu",
      "filtered_lrelu_sweep",
      {{"SG3_BLOCK", jit::type_text("SweepBlock", element, width, shape.up, shape.down, problem.mode, shape.up_terms,
                                    shape.down_terms, shape.capacity)},
       {"SG3_TYPE", element}}};
  return launch(variant, num_sweep_blocks(plan), kSweepThreads, shape.shared_floats(), t.stream, plan,
                sweep_taps(problem), t.x, t.bias, t.y, t.mask);
}

int launch_filtered_lrelu(const Sg3FilteredLrelu& problem, int type, const Tensors& t) {
  if (problem.batch * problem.channels * problem.down.y.out_size * problem.down.x.out_size == 0) return kSuccess;
  if (!is_valid(problem, type, t.mask)) return fail(kInvalidValue, "not a valid problem for CUDA");
  if (is_pointwise(problem)) return launch_pointwise(problem, type, t);
  SharedLimits limits;
  int error = shared_limits(t.stream, &limits);
  if (error != kSuccess) return error;
  SweepShape shape = sweep_shape(problem);
  if (has_sweep_shape(problem)) shape.capacity = sweep_capacity(shape, problem.mode, limits);
  if (shape.capacity > 0) return launch_sweep(problem, type, shape, sweep_plan(problem, shape, limits), t);
  return launch_any(problem, type, limits, t);
}

}  // namespace
}  // namespace sg3::cuda

extern "C" int sg3_cuda_filtered_lrelu(const Sg3FilteredLrelu* problem, int type, const void* x, const void* bias,
                                       void* y, void* mask, void* stream) {
  return sg3::cuda::launch_filtered_lrelu(*problem, type, {x, bias, y, static_cast<uint32_t*>(mask), stream});
}
