// The upfirdn2d kernel for few channels, compiled at first use (launch.cc) for SG3_TYPE, the type of elements, and
// SG3_SHAPE, an ImageShape.

#include "custom_ops/resampling/cuda/barrier.h"
#include "custom_ops/upfirdn2d/cuda_image_block.h"

namespace sg3::cuda {

extern "C" __global__ void __launch_bounds__(kImageThreads, 3)
    upfirdn2d_image(const __grid_constant__ ImagePlan plan, const __grid_constant__ Taps<kImageTaps> taps,
                    const SG3_TYPE* x, SG3_TYPE* y) {
  extern __shared__ float4 shared[];
  ImageBlock<SG3_TYPE, SG3_SHAPE>(plan, taps.at, x, y, reinterpret_cast<float*>(shared), blockIdx.x)
      .run_all(BlockBarrier());
}

}  // namespace sg3::cuda
