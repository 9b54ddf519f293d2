// Sg3>Upfirdn2d on any device: checks, sizes and memory.

#ifndef SG3TF_CUSTOM_OPS_UPFIRDN2D_OP_H_
#define SG3TF_CUSTOM_OPS_UPFIRDN2D_OP_H_

#include "custom_ops/resampling/tf/attributes.h"
#include "custom_ops/resampling/tf/kernels.h"
#include "custom_ops/resampling/tf/types.h"
#include "custom_ops/upfirdn2d/problem.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace sg3 {

inline tensorflow::TensorShape output_shape(const Sg3Upfirdn2d& problem) {
  return {problem.batch, problem.stage.y.out_size, problem.stage.x.out_size, problem.channels};
}

// `Device` has a static function launch(context, problem, type, arrays).
template <class Device>
class Upfirdn2dOp : public tensorflow::OpKernel {
 public:
  explicit Upfirdn2dOp(tensorflow::OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context, "up", "down", "pad", ""));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    const tensorflow::Tensor& x = context->input(0);
    OP_REQUIRES_OK(context, check_images("x", x.shape()));
    Sg3Upfirdn2d problem = {x.dim_size(0), x.dim_size(3), {}};
    OP_REQUIRES_OK(context, attributes_.stage(x.dim_size(1), x.dim_size(2), &problem.stage));
    tensorflow::Tensor* y;
    OP_REQUIRES_OK(context, context->allocate_output(0, output_shape(problem), &y));
    if (y->NumElements() > 0) {
      OP_REQUIRES_OK(context, Device::launch(context, problem, element_type(x.dtype()), {x.data(), y->data()}));
    }
  }

 private:
  StageAttributes attributes_;
};

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_UPFIRDN2D_OP_H_
