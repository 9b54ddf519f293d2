// The filtered_lrelu kernel on tensor cores, compiled at first use (launch_mma.cc) for SG3_BLOCK, the type of a block
// such as MmaBlock<Half, 2, 2, 0>, and SG3_TYPE, the type of the images' elements. Compute capability 8.0 or newer.

#include "custom_ops/filtered_lrelu/cuda_mma_radial.h"

namespace sg3::cuda {

extern "C" __global__ void __launch_bounds__(kMmaThreads, 2)
    filtered_lrelu_mma(const __grid_constant__ MmaPlan plan, const __grid_constant__ MmaTaps taps, const SG3_TYPE* x,
                       const SG3_TYPE* bias, SG3_TYPE* y, uint32_t* mask) {
  extern __shared__ float4 shared[];
  CudaLane lane;
  SG3_BLOCK(plan, taps, x, bias, y, mask, shared, blockIdx.x).run(lane);
}

}  // namespace sg3::cuda
