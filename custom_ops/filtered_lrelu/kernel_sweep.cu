// The filtered_lrelu kernel for the filters of StyleGAN3, compiled at first use (launch.cc) for SG3_BLOCK, the type of
// a block such as SweepBlock<float, 4, 2, 2, 0, 1, 1, 7>, and SG3_TYPE, the type of the images' elements.

#include "custom_ops/filtered_lrelu/cuda_sweep_block.h"

namespace sg3::cuda {

extern "C" __global__ void __launch_bounds__(kSweepThreads, 2)
    filtered_lrelu_sweep(const __grid_constant__ SweepPlan plan, const __grid_constant__ SweepTaps taps,
                         const SG3_TYPE* x, const SG3_TYPE* bias, SG3_TYPE* y, uint32_t* mask) {
  extern __shared__ float4 shared[];
  CudaLane lane;
  const int64_t blocks = num_sweep_blocks(plan);
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    SG3_BLOCK(plan, taps, x, bias, y, mask, reinterpret_cast<float*>(shared), block).run(lane);
  }
}

}  // namespace sg3::cuda
