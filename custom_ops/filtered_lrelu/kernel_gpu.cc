// Sg3>FilteredLrelu and Sg3>FilteredLreluMasked on NVIDIA's GPUs.

#include "custom_ops/filtered_lrelu/op.h"
#include "custom_ops/resampling/gpu.h"

namespace sg3 {
namespace {

struct Gpu {
  static absl::Status launch(tensorflow::OpKernelContext* context, const Sg3FilteredLrelu& problem, Sg3Type type,
                             const FilteredLreluArrays& arrays) {
    return launched("Sg3>FilteredLrelu", sg3_cuda_filtered_lrelu(&problem, type, arrays.x, arrays.bias, arrays.y,
                                                                 arrays.mask, stream_of(context)));
  }
};

#define SG3_REGISTER_ONE(name, T, Kernel) \
  REGISTER_KERNEL_BUILDER(Name(name).Device(tensorflow::DEVICE_GPU).TypeConstraint<T>("T"), Kernel<Gpu>);
#define SG3_REGISTER(T)                                     \
  SG3_REGISTER_ONE("Sg3>FilteredLrelu", T, FilteredLreluOp) \
  SG3_REGISTER_ONE("Sg3>FilteredLreluMasked", T, FilteredLreluMaskedOp)
SG3_REGISTER(float)
SG3_REGISTER(Eigen::half)
SG3_REGISTER(Eigen::bfloat16)
#undef SG3_REGISTER
#undef SG3_REGISTER_ONE

}  // namespace
}  // namespace sg3
