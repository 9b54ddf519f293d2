// Sg3>ScaleChannels and Sg3>SumPixels on the CPU. On a GPU, TensorFlow's own operations are as good.

#include "custom_ops/channels/cpu.h"
#include "custom_ops/channels/op.h"
#include "custom_ops/resampling/tf/kernels.h"
#include "custom_ops/resampling/tf/types.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace sg3 {
namespace {

using tensorflow::Tensor;

ImageBatch batch_of(const Tensor& x) { return {x.dim_size(0), x.dim_size(1), x.dim_size(2), x.dim_size(3)}; }

class ScaleChannelsOp : public tensorflow::OpKernel {
 public:
  explicit ScaleChannelsOp(tensorflow::OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, check_wide_type("Factors", input_type(1), input_type(0)));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    const Tensor &x = context->input(0), &factors = context->input(1);
    OP_REQUIRES_OK(context, check_scale(x.shape(), factors.shape()));
    Tensor* y;
    OP_REQUIRES_OK(context, context->forward_input_or_allocate_output({0}, 0, x.shape(), &y));
    if (x.NumElements() == 0) return;
    ScaleChannelsArrays arrays = {x.data(), factors.data(), y->data()};
    OP_REQUIRES_OK(context, CpuDevice<ScaleChannelsCpu>::launch(context, batch_of(x), element_type(x.dtype()), arrays));
  }
};

class SumPixelsOp : public tensorflow::OpKernel {
 public:
  explicit SumPixelsOp(tensorflow::OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, check_wide_type("Sums", output_type(0), input_type(0)));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    const Tensor &first = context->input(0), &last = context->input(num_inputs() - 1);
    OP_REQUIRES_OK(context, check_sums(num_inputs(), first.shape(), last.shape()));
    Tensor* sums;
    OP_REQUIRES_OK(context, context->allocate_output(0, {first.dim_size(0), first.dim_size(3)}, &sums));
    if (sums->NumElements() == 0) return;
    SumPixelsArrays arrays = {first.data(), num_inputs() == 2 ? last.data() : nullptr, sums->data()};
    OP_REQUIRES_OK(context,
                   CpuDevice<SumPixelsCpu>::launch(context, batch_of(first), element_type(first.dtype()), arrays));
  }
};

SG3_REGISTER_CPU_KERNELS("Sg3>ScaleChannels", ScaleChannelsOp)
SG3_REGISTER_CPU_KERNELS("Sg3>SumPixels", SumPixelsOp)

}  // namespace
}  // namespace sg3
