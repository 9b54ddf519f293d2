// The launcher of filtered_lrelu on tensor cores: float16 and bfloat16 images, separable filters of StyleGAN3's
// factors. Returns cudaErrorNotSupported for anything else; compute capability 8.0 or newer.

#include <cuda_runtime.h>

#include "custom_ops/filtered_lrelu/cuda_mma_plan.h"
#include "custom_ops/resampling/cuda/launch.h"

namespace sg3::cuda {
namespace {

template <class T, int UP, int DOWN, int MODE>
__global__ void __launch_bounds__(kMmaThreads, 2)
    filtered_lrelu_mma(const __grid_constant__ MmaPlan plan, const __grid_constant__ MmaTaps taps, const T* x,
                       const T* bias, T* y, uint32_t* mask) {
  extern __shared__ float4 shared[];
  CudaLane lane;
  const int64_t blocks = plan.batch * plan.chunks * plan.y.parts * plan.x.parts;
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    MmaBlock<T, UP, DOWN, MODE>(plan, taps, x, bias, y, mask, shared, block).run(lane);
  }
}

struct MmaTensors {
  const void *x, *bias;
  void* y;
  uint32_t* mask;
  cudaStream_t stream;
};

template <class T, int UP, int DOWN, int MODE>
cudaError_t launch_mode(const MmaPlan& plan, const MmaTaps& taps, const SharedLimits& limits, const MmaTensors& t) {
  const int64_t blocks = plan.batch * plan.chunks * plan.y.parts * plan.x.parts;
  return launch(filtered_lrelu_mma<T, UP, DOWN, MODE>, blocks, kMmaThreads, plan.shared_vectors * 4, limits, t.stream,
                plan, taps, static_cast<const T*>(t.x), static_cast<const T*>(t.bias), static_cast<T*>(t.y), t.mask);
}

template <class T, int UP, int DOWN>
cudaError_t launch_shape(const Sg3FilteredLrelu& problem, const MmaPlan& plan, const SharedLimits& limits,
                         const MmaTensors& t) {
  const MmaTaps taps = mma_taps(problem);
  if (problem.mode == SG3_ACTIVATE) return launch_mode<T, UP, DOWN, SG3_ACTIVATE>(plan, taps, limits, t);
  if (problem.mode == SG3_APPLY_MASK) return launch_mode<T, UP, DOWN, SG3_APPLY_MASK>(plan, taps, limits, t);
  return launch_mode<T, UP, DOWN, SG3_ACTIVATE_AND_MASK>(plan, taps, limits, t);
}

}  // namespace
}  // namespace sg3::cuda

extern "C" int sg3_cuda_filtered_lrelu_mma(const Sg3FilteredLrelu* problem, int type, const void* x, const void* bias,
                                           void* y, void* mask, void* stream) {
  using namespace sg3;
  using namespace sg3::cuda;
  const MmaTensors t = {x, bias, y, static_cast<uint32_t*>(mask), static_cast<cudaStream_t>(stream)};
  const Sg3FilteredLrelu& p = *problem;
  if (p.batch * p.channels * p.down.y.out_size * p.down.x.out_size == 0) return cudaSuccess;
  if (!is_representable(p.up) || !is_representable(p.down) || (p.mode != SG3_ACTIVATE && !mask)) {
    return cudaErrorInvalidValue;
  }
  SharedLimits limits;
  cudaError_t error = shared_limits(&limits);
  if (error != cudaSuccess) return error;
  const bool vectors = p.channels % 8 == 0 && is_aligned(x) && is_aligned(y);
  const auto launch_factors = [&](auto shape) {
    using Shape = decltype(shape);
    MmaPlan plan;
    if (!make_mma_plan<Shape::kUp, Shape::kDown>(p, vectors, limits, &plan)) {
      error = cudaErrorNotSupported;
    } else if (type == SG3_FLOAT16) {
      error = launch_shape<Half, Shape::kUp, Shape::kDown>(p, plan, limits, t);
    } else {
      error = launch_shape<BFloat16, Shape::kUp, Shape::kDown>(p, plan, limits, t);
    }
  };
  return with_mma_shape(p, type, launch_factors) ? error : cudaErrorNotSupported;
}
