// The filtered_lrelu kernel without filters, compiled at first use (launch.cc) for SG3_TYPE, the type of the images'
// elements, and SG3_MODE, an Sg3Mode.

#include "custom_ops/filtered_lrelu/cuda_pointwise.h"

namespace sg3::cuda {

extern "C" __global__ void __launch_bounds__(kPointwiseThreads)
    filtered_lrelu_pointwise(const __grid_constant__ PointwisePlan plan, const SG3_TYPE* x, const SG3_TYPE* bias,
                             SG3_TYPE* y, uint32_t* mask) {
  const int64_t step = int64_t(gridDim.x) * kPointwiseThreads;
  for (int64_t word = blockIdx.x * int64_t(kPointwiseThreads) + threadIdx.x; word < plan.words; word += step) {
    run_pointwise<SG3_TYPE, SG3_MODE>(plan, x, bias, y, mask, word);
  }
}

}  // namespace sg3::cuda
