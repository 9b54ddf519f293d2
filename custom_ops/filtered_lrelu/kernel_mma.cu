// The launcher of filtered_lrelu on tensor cores: float16 and bfloat16 images, separable filters of StyleGAN3's
// factors. Returns cudaErrorNotSupported for anything else; compute capability 8.0 or newer.

#include <cuda_runtime.h>

#include "custom_ops/filtered_lrelu/cuda_mma_plan.h"
#include "custom_ops/resampling/cuda/launch.h"

namespace sg3::cuda {
namespace {

template <class Kernel>
__global__ void __launch_bounds__(kMmaThreads, 2)
    filtered_lrelu_mma(const __grid_constant__ MmaPlan plan, const __grid_constant__ MmaTaps taps, const void* x,
                       const void* bias, void* y, uint32_t* mask) {
  using T = typename Kernel::Element;
  extern __shared__ float4 shared[];
  CudaLane lane;
  const int64_t blocks = plan.batch * plan.chunks * plan.y.parts * plan.x.parts;
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    typename Kernel::Block(plan, taps, static_cast<const T*>(x), static_cast<const T*>(bias), static_cast<T*>(y), mask,
                           shared, block)
        .run(lane);
  }
}

}  // namespace
}  // namespace sg3::cuda

extern "C" int sg3_cuda_filtered_lrelu_mma(const Sg3FilteredLrelu* problem, int type, const void* x, const void* bias,
                                           void* y, void* mask, void* stream) {
  using namespace sg3;
  using namespace sg3::cuda;
  const Sg3FilteredLrelu& p = *problem;
  if (p.batch * p.channels * p.down.y.out_size * p.down.x.out_size == 0) return cudaSuccess;
  if (!is_representable(p.up) || !is_representable(p.down) || (p.mode != SG3_ACTIVATE && !mask)) {
    return cudaErrorInvalidValue;
  }
  SharedLimits limits;
  cudaError_t error = shared_limits(&limits);
  if (error != cudaSuccess) return error;
  const bool vectors = p.channels % 8 == 0 && is_aligned(x) && is_aligned(y);
  const bool supported = with_mma_kernel(p, type, [&](auto kernel) {
    using Kernel = decltype(kernel);
    MmaPlan plan;
    if (!make_mma_plan<typename Kernel::Block>(p, vectors, limits, &plan)) {
      error = cudaErrorNotSupported;
      return;
    }
    const MmaTaps taps = make_mma_taps<Kernel>(p, &plan);
    const int64_t blocks = plan.batch * plan.chunks * plan.y.parts * plan.x.parts;
    error = launch(filtered_lrelu_mma<Kernel>, blocks, kMmaThreads, plan.shared_vectors * 4, limits,
                   static_cast<cudaStream_t>(stream), plan, taps, x, bias, y, static_cast<uint32_t*>(mask));
  });
  return supported ? error : cudaErrorNotSupported;
}
