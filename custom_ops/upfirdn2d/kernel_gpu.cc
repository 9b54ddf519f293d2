// Sg3>Upfirdn2d on NVIDIA's GPUs.

#include "custom_ops/resampling/gpu.h"
#include "custom_ops/upfirdn2d/op.h"

namespace sg3 {
namespace {

struct Gpu {
  static absl::Status launch(tensorflow::OpKernelContext* context, const Sg3Upfirdn2d& problem, Sg3Type type,
                             const void* x, void* y) {
    return launched("Sg3>Upfirdn2d", sg3_cuda_upfirdn2d(&problem, type, x, y, stream_of(context)));
  }
};

#define SG3_REGISTER(T)                                                                                \
  REGISTER_KERNEL_BUILDER(Name("Sg3>Upfirdn2d").Device(tensorflow::DEVICE_GPU).TypeConstraint<T>("T"), \
                          Upfirdn2dOp<Gpu>);
SG3_REGISTER(float)
SG3_REGISTER(Eigen::half)
SG3_REGISTER(Eigen::bfloat16)
#undef SG3_REGISTER

}  // namespace
}  // namespace sg3
