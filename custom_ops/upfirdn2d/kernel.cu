// The launcher of upfirdn2d. Filters are passed as kernel parameters: short ones in a small block of them, and up to
// kManyTaps in a large one (which needs compute capability 7.0 and a CUDA 12.1 driver). Returns cudaErrorInvalidValue
// beyond that, for positions that need 64 bits, and if the neighborhood of even a single output does not fit into
// shared memory: beyond about 75 taps along both axes if a block may have 99 KiB, and about 100 if it may have 163.

#include "custom_ops/upfirdn2d/problem.h"

#include <cuda_runtime.h>

#include "custom_ops/resampling/cuda/launch.h"
#include "custom_ops/upfirdn2d/cuda_plan.h"

namespace sg3::cuda {
namespace {

constexpr int kFewTaps = 896, kManyTaps = 7936;

template <class Line, int CAPACITY>
__global__ void __launch_bounds__(kMaxThreads, 1)
    upfirdn2d(const __grid_constant__ UpfirdnPlan plan, const __grid_constant__ Taps<CAPACITY> taps, const void* x,
              void* y) {
  extern __shared__ float4 shared[];
  const int64_t blocks = num_blocks(plan);
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    UpfirdnBlock<Line>(plan, taps.at, x, y, reinterpret_cast<float*>(shared), block).run_all(BlockBarrier());
  }
}

struct Tensors {
  const void* x;
  void* y;
  cudaStream_t stream;
};

template <class Line, int CAPACITY>
cudaError_t launch_line(const Sg3Upfirdn2d& problem, const UpfirdnPlan& plan, const SharedLimits& limits,
                        const Tensors& t) {
  Taps<CAPACITY> taps;
  copy_taps(problem, plan, taps.at);
  return launch(upfirdn2d<Line, CAPACITY>, num_blocks(plan), plan.threads, plan.shared_floats, limits, t.stream, plan,
                taps, t.x, t.y);
}

cudaError_t launch_upfirdn2d(const Sg3Upfirdn2d& problem, int type, const Tensors& t) {
  if (problem.batch * problem.channels * problem.stage.y.out_size * problem.stage.x.out_size == 0) return cudaSuccess;
  if (!is_representable(problem.stage) || !is_supported(type)) return cudaErrorInvalidValue;
  SharedLimits limits;
  cudaError_t error = shared_limits(&limits);
  if (error != cudaSuccess) return error;

  const bool vectors = problem.channels % (16 / bytes_of(type)) == 0 && is_aligned(t.x) && is_aligned(t.y);
  UpfirdnPlan plan = upfirdn_plan(problem, type, vectors);
  if (num_taps(plan) > kManyTaps || !choose_tiles(&plan, limits)) return cudaErrorInvalidValue;
  const auto launch_fixed = [&](auto line) { error = launch_line<decltype(line), kFewTaps>(problem, plan, limits, t); };
  if (num_taps(plan) <= kFewTaps && with_fixed_line(plan, launch_fixed)) return error;
  return launch_line<AnyLine, kManyTaps>(problem, plan, limits, t);
}

}  // namespace
}  // namespace sg3::cuda

extern "C" int sg3_cuda_upfirdn2d(const Sg3Upfirdn2d* problem, int type, const void* x, void* y, void* stream) {
  return sg3::cuda::launch_upfirdn2d(*problem, type, {x, y, static_cast<cudaStream_t>(stream)});
}
