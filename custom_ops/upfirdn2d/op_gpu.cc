// Sg3>Upfirdn2d on NVIDIA GPUs.

#include "custom_ops/resampling/tf/gpu.h"
#include "custom_ops/upfirdn2d/op.h"

namespace sg3 {
namespace {

struct Gpu {
  static absl::Status launch(tensorflow::OpKernelContext* context, const Sg3Upfirdn2d& problem, Sg3Type type,
                             const Upfirdn2dArrays& arrays) {
    return launch_status(context, sg3_cuda_upfirdn2d(&problem, type, arrays.x, arrays.y, cuda_stream(context)));
  }
};

SG3_REGISTER_GPU_KERNELS("Sg3>Upfirdn2d", Upfirdn2dOp<Gpu>)

}  // namespace
}  // namespace sg3
