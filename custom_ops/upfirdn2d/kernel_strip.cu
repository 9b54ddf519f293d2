// The upfirdn2d kernel for many channels, compiled at first use (launch.cc) for SG3_TYPE, the type of elements, and
// SG3_SHAPE, a StripShape.

#include "custom_ops/upfirdn2d/cuda_strip_block.h"

namespace sg3::cuda {

extern "C" __global__ void __launch_bounds__(kStripThreads, 2)
    upfirdn2d_strip(const __grid_constant__ StripPlan plan, const __grid_constant__ StripTaps<SG3_SHAPE> taps,
                    const char* x, char* y) {
  StripBlock<SG3_TYPE, SG3_SHAPE>{plan, taps, x, y, blockIdx.x}.run(Worker{int(threadIdx.x), int(blockDim.x)});
}

}  // namespace sg3::cuda
