// The general upfirdn2d kernel, compiled at first use (launch.cc) for SG3_TAPS, the capacity for taps.

#include "custom_ops/resampling/cuda/barrier.h"
#include "custom_ops/upfirdn2d/cuda_block.h"

namespace sg3::cuda {

extern "C" __global__ void __launch_bounds__(kMaxThreads, 1)
    upfirdn2d(const __grid_constant__ UpfirdnPlan plan, const __grid_constant__ Taps<SG3_TAPS> taps, const void* x,
              void* y) {
  extern __shared__ float4 shared[];
  const int64_t blocks = num_blocks(plan);
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    UpfirdnBlock(plan, taps.at, x, y, reinterpret_cast<float*>(shared), block).run_all(BlockBarrier());
  }
}

}  // namespace sg3::cuda
