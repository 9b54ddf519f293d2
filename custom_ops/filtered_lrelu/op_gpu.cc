// Sg3>FilteredLrelu and Sg3>FilteredLreluMasked on NVIDIA GPUs.

#include "custom_ops/filtered_lrelu/op.h"
#include "custom_ops/resampling/tf/gpu.h"

namespace sg3 {
namespace {

struct Gpu {
  static absl::Status launch(tensorflow::OpKernelContext* context, const Sg3FilteredLrelu& problem, Sg3Type type,
                             const FilteredLreluArrays& arrays) {
    const int code = sg3_cuda_filtered_lrelu_fastest(&problem, type, arrays.x, arrays.bias, arrays.y, arrays.mask,
                                                     cuda_stream(context));
    return launch_status(context, code);
  }
};

SG3_REGISTER_GPU_KERNELS("Sg3>FilteredLrelu", FilteredLreluOp<Gpu>)
SG3_REGISTER_GPU_KERNELS("Sg3>FilteredLreluMasked", FilteredLreluMaskedOp<Gpu>)

}  // namespace
}  // namespace sg3
