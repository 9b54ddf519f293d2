// The launcher of filtered_lrelu. Filters are passed as kernel parameters: those of StyleGAN3 in a small block of them,
// and up to kManyTaps in a large one (which needs compute capability 7.0 and a CUDA 12.1 driver). Returns
// cudaErrorInvalidValue beyond that, for positions that need 64 bits, and if the neighborhood of even a single output
// does not fit into shared memory: beyond about 28 taps after the nonlinearity if a block may have 99 KiB, and about 40
// if it may have 227.

#include "custom_ops/filtered_lrelu/problem.h"

#include <cuda_runtime.h>

#include "custom_ops/filtered_lrelu/cuda_plan.h"
#include "custom_ops/resampling/cuda/launch.h"

namespace sg3::cuda {
namespace {

constexpr int kFewTaps = 896, kManyTaps = 7936;

template <class Shape, int MODE, int CAPACITY>
__global__ void __launch_bounds__(kMaxThreads, 1)
    filtered_lrelu(const __grid_constant__ LreluPlan plan, const __grid_constant__ Taps<CAPACITY> taps, const void* x,
                   const void* bias, void* y, uint32_t* mask) {
  extern __shared__ float4 shared[];
  const int64_t blocks = num_blocks(plan);
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    LreluBlock<Shape, MODE>(plan, taps.at, x, bias, y, mask, reinterpret_cast<float*>(shared), block)
        .run_all(BlockBarrier());
  }
}

struct Tensors {
  const void *x, *bias;
  void* y;
  uint32_t* mask;
  cudaStream_t stream;
};

template <class Shape, class Mode, int CAPACITY>
cudaError_t launch_shape(const Sg3FilteredLrelu& problem, LreluPlan plan, const SharedLimits& limits,
                         const Tensors& t) {
  if (num_taps(plan) > CAPACITY || !choose_tiles<Shape>(&plan, limits)) return cudaErrorInvalidValue;
  Taps<CAPACITY> taps;
  copy_taps(problem, plan, taps.at);
  return launch(filtered_lrelu<Shape, Mode::value, CAPACITY>, num_blocks(plan), plan.threads, plan.shared_floats,
                limits, t.stream, plan, taps, t.x, t.bias, t.y, t.mask);
}

bool is_valid(const Sg3FilteredLrelu& p, int type, const Tensors& t) {
  const bool has_mode = p.mode == SG3_ACTIVATE || p.mode == SG3_ACTIVATE_AND_MASK || p.mode == SG3_APPLY_MASK;
  const bool has_mask = p.mode == SG3_ACTIVATE || t.mask;
  const bool has_factors = p.up.y.down == 1 && p.up.x.down == 1 && p.down.y.up == 1 && p.down.x.up == 1;
  const bool fits = p.down.y.in_size == p.up.y.out_size && p.down.x.in_size == p.up.x.out_size;
  return has_mode && has_mask && has_factors && fits && is_supported(type) && is_representable(p.up) &&
         is_representable(p.down);
}

cudaError_t launch_filtered_lrelu(const Sg3FilteredLrelu& problem, int type, const Tensors& t) {
  if (problem.batch * problem.channels * problem.down.y.out_size * problem.down.x.out_size == 0) return cudaSuccess;
  if (!is_valid(problem, type, t)) return cudaErrorInvalidValue;
  SharedLimits limits;
  cudaError_t error = shared_limits(&limits);
  if (error != cudaSuccess) return error;
  const bool vectors = problem.channels % (16 / bytes_of(type)) == 0 && is_aligned(t.x) && is_aligned(t.y);

  LreluPlan plan = lrelu_plan(problem, type, vectors, true);
  const auto launch_fixed = [&](auto shape, auto mode) {
    error = launch_shape<decltype(shape), decltype(mode), kFewTaps>(problem, plan, limits, t);
  };
  if (num_taps(plan) <= kFewTaps && with_fixed_shape(plan, launch_fixed)) return error;

  plan = lrelu_plan(problem, type, vectors, false);
  with_any_shape(plan, [&](auto shape, auto mode) {
    error = launch_shape<decltype(shape), decltype(mode), kManyTaps>(problem, plan, limits, t);
  });
  return error;
}

}  // namespace
}  // namespace sg3::cuda

extern "C" int sg3_cuda_filtered_lrelu(const Sg3FilteredLrelu* problem, int type, const void* x, const void* bias,
                                       void* y, void* mask, void* stream) {
  return sg3::cuda::launch_filtered_lrelu(
      *problem, type, {x, bias, y, static_cast<uint32_t*>(mask), static_cast<cudaStream_t>(stream)});
}
