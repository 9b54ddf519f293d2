// The filtered_lrelu kernel for any factors and filters, compiled at first use (launch.cc) for SG3_MODE, an Sg3Mode,
// and SG3_TAPS, the capacity for taps.

#include "custom_ops/filtered_lrelu/cuda_block.h"
#include "custom_ops/resampling/cuda/barrier.h"

namespace sg3::cuda {

extern "C" __global__ void __launch_bounds__(kMaxThreads, 1)
    filtered_lrelu(const __grid_constant__ LreluPlan plan, const __grid_constant__ Taps<SG3_TAPS> taps, const void* x,
                   const void* bias, void* y, uint32_t* mask) {
  extern __shared__ float4 shared[];
  const int64_t blocks = num_blocks(plan);
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    LreluBlock<SG3_MODE>(plan, taps.at, x, bias, y, mask, reinterpret_cast<float*>(shared), block)
        .run_all(BlockBarrier());
  }
}

}  // namespace sg3::cuda
