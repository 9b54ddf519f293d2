// The launcher of upfirdn2d, which chooses among three kernels: strips for many channels, images for few, and the
// general one for everything else. Filters are passed as kernel parameters. The general kernel takes up to kManyTaps in
// a large block of parameters (which needs compute capability 7.0 and a CUDA 12.1 driver). Returns kInvalidValue for
// more taps, for positions that need 64 bits, and if the neighborhood of even a single output does not fit into shared
// memory: beyond about 75 taps along both axes if a block may have 99 KiB, and about 100 if it may have 163.

#include "custom_ops/resampling/cuda/launch.h"

#include "custom_ops/upfirdn2d/cuda_image_plan.h"
#include "custom_ops/upfirdn2d/cuda_plan.h"
#include "custom_ops/upfirdn2d/cuda_strip_plan.h"
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
std::string text(StripShape<NUMBERS...>) {
  return jit::type_text("StripShape", NUMBERS...);
}

template <int... NUMBERS>
std::string text(ImageShape<NUMBERS...>) {
  return jit::type_text("ImageShape", NUMBERS...);
}

// The kernel upfirdn2d_NAME of the file kernel_NAME.cu.
template <class Shape>
jit::Variant variant_of(const std::string& name, int type, Shape shape) {
  const char* element = type == SG3_FLOAT32 ? "float" : type == SG3_FLOAT16 ? "Half" : "BFloat16";
  return {"custom_ops/upfirdn2d/kernel_" + name + ".cu",
          "upfirdn2d_" + name,
          {{"SG3_TYPE", element}, {"SG3_SHAPE", text(shape)}}};
}

// The first two return false if they do not support the problem, or if it takes more blocks than a grid may have, over
// which their kernels do not loop; otherwise they write the result of the launch to `error`.
bool launch_strip(const Sg3Upfirdn2d& problem, int type, const Tensors& t, int* error) {
  bool fits = false;
  const auto launch_shape = [&](auto shape) {
    using Shape = decltype(shape);
    const StripPlan plan = strip_plan<Shape>(problem);
    fits = num_blocks(plan) <= kMaxBlocks;
    if (!fits) return;
    *error = launch(variant_of("strip", type, shape), num_blocks(plan), plan.threads, 0, t.stream, plan,
                    strip_taps<Shape>(problem), t.x, t.y);
  };
  return with_strip_shape(problem, is_aligned(t.x) && is_aligned(t.y), launch_shape) && fits;
}

bool launch_image(const Sg3Upfirdn2d& problem, int type, const SharedLimits& limits, const Tensors& t, int* error) {
  bool fits = false;
  const auto launch_shape = [&](auto shape) {
    using Shape = decltype(shape);
    ImagePlan plan;
    fits = make_image_plan<Shape>(problem, limits, &plan) && num_blocks(plan) <= kMaxBlocks;
    if (!fits) return;
    Taps<kImageTaps> taps;
    image_taps<Shape>(problem, plan, taps.at);
    *error = launch(variant_of("image", type, shape), num_blocks(plan), kImageThreads, plan.shared_floats, t.stream,
                    plan, taps, t.x, t.y);
  };
  return with_image_shape(problem, launch_shape) && fits;
}

template <int CAPACITY>
int launch_general(const Sg3Upfirdn2d& problem, const UpfirdnPlan& plan, const Tensors& t) {
  const jit::Variant variant = {
      "custom_ops/upfirdn2d/kernel.cu", "upfirdn2d", {{"SG3_TAPS", std::to_string(CAPACITY)}}};
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
  if (launch_strip(problem, type, t, &error) || launch_image(problem, type, limits, t, &error)) return error;

  const bool vectors = problem.channels % (16 / bytes_of(type)) == 0 && is_aligned(t.x) && is_aligned(t.y);
  UpfirdnPlan plan = upfirdn_plan(problem, type, vectors);
  if (num_taps(plan) > kManyTaps || !choose_tiles(&plan, limits)) {
    return fail(kInvalidValue, "the filter is too long for the shared memory of a block");
  }
  return num_taps(plan) > kFewTaps ? launch_general<kManyTaps>(problem, plan, t)
                                   : launch_general<kFewTaps>(problem, plan, t);
}

}  // namespace
}  // namespace sg3::cuda

extern "C" int sg3_cuda_upfirdn2d(const Sg3Upfirdn2d* problem, int type, const void* x, void* y, void* stream) {
  return sg3::cuda::launch_upfirdn2d(*problem, type, {x, y, stream});
}
