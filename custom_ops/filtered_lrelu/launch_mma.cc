// The launcher of filtered_lrelu on tensor cores: float16 and bfloat16 images, filters and factors of StyleGAN3.
// Returns kNotSupported for anything else; compute capability 8.0 or newer.

#include "custom_ops/filtered_lrelu/launch_check.h"
#include "custom_ops/filtered_lrelu/mma_variant.h"
#include "custom_ops/resampling/cuda/launch.h"

extern "C" int sg3_cuda_filtered_lrelu_mma(const Sg3FilteredLrelu* problem, int type, const void* x, const void* bias,
                                           void* y, void* mask, void* stream) {
  using namespace sg3;
  using namespace sg3::cuda;
  const Sg3FilteredLrelu& p = *problem;
  if (p.batch * p.channels * p.down.y.out_size * p.down.x.out_size == 0) return kSuccess;
  if (!is_valid(p, type, mask)) return fail(kInvalidValue, "not a valid problem for CUDA");
  if (!has_tensor_cores(stream)) return fail(kNotSupported, "tensor cores need compute capability 8.0 or newer");
  SharedLimits limits;
  int error = shared_limits(stream, &limits);
  if (error != kSuccess) return error;
  error = fail(kNotSupported, "not a problem for tensor cores");
  with_mma_kernel(p, type, [&](auto kernel) {
    using Kernel = decltype(kernel);
    MmaPlan plan;
    if (!make_mma_plan<typename Kernel::Block>(p, mma_alignment(p.channels, x, y), limits, &plan)) return;
    const MmaTaps taps = make_mma_taps<Kernel>(p, &plan);
    if (!are_finite<Kernel>(taps)) return;
    const int64_t blocks = int64_t(plan.batch) * plan.chunks * plan.y.parts * plan.x.parts;
    error = launch(mma_variant(kernel), blocks, kMmaThreads, int64_t(plan.shared_vectors) * 4, stream, plan, taps, x,
                   bias, y, static_cast<uint32_t*>(mask));
  });
  return error;
}
