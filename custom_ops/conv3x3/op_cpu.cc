// Sg3>Conv3x3 and Sg3>Conv3x3KernelGradient on the CPU.

#include "custom_ops/conv3x3/cpu.h"
#include "custom_ops/conv3x3/op.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/util/work_sharder.h"

namespace sg3 {
namespace {

const float* floats(const tensorflow::Tensor& tensor) { return tensor.flat<float>().data(); }

Conv3x3Scales scales_of(const tensorflow::Tensor& in, const tensorflow::Tensor& out) {
  return {in.NumElements() == 0 ? nullptr : floats(in), out.NumElements() == 0 ? nullptr : floats(out)};
}

class Conv3x3Op : public tensorflow::OpKernel {
 public:
  explicit Conv3x3Op(tensorflow::OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("pad", &pad_));
    OP_REQUIRES_OK(context, check_pad(pad_));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    const tensorflow::Tensor &x = context->input(0), &kernel = context->input(1);
    Conv3x3 conv;
    OP_REQUIRES_OK(context, conv3x3_of(x.shape(), kernel.shape(), pad_, &conv));
    const tensorflow::Tensor &in_scale = context->input(2), &out_scale = context->input(3);
    OP_REQUIRES_OK(context, check_scales(conv, in_scale.shape(), out_scale.shape()));
    tensorflow::Tensor* y;
    OP_REQUIRES_OK(context, context->allocate_output(0, output_shape(conv), &y));
    if (y->NumElements() == 0) return;
    auto workers = context->device()->tensorflow_cpu_worker_threads();
    const Conv3x3Cpu cpu(conv, workers->num_threads);
    tensorflow::Tensor transformed;
    OP_REQUIRES_OK(context, context->allocate_temp(x.dtype(), {cpu.transformed_size()}, &transformed));
    float* to = transformed.flat<float>().data();
    tensorflow::Shard(workers->num_threads, workers->workers, conv.in_channels,
                      static_cast<int64_t>(1 + cpu.transform_cycles()),
                      [&](int64_t first, int64_t last) { cpu.transform_kernel(floats(kernel), to, first, last); });
    const Conv3x3Arrays arrays = {floats(x), scales_of(in_scale, out_scale), y->flat<float>().data()};
    tensorflow::Shard(workers->num_threads, workers->workers, cpu.tiles(), static_cast<int64_t>(1 + cpu.tile_cycles()),
                      [&](int64_t first, int64_t last) { cpu.run(first, last, to, arrays); });
  }

 private:
  int64_t pad_;
};

class Conv3x3KernelGradientOp : public tensorflow::OpKernel {
 public:
  explicit Conv3x3KernelGradientOp(tensorflow::OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("pad", &pad_));
    OP_REQUIRES_OK(context, check_pad(pad_));
  }

  void Compute(tensorflow::OpKernelContext* context) override {
    const tensorflow::Tensor &x = context->input(0), &dy = context->input(1);
    Conv3x3 conv;
    OP_REQUIRES_OK(context, conv3x3_gradient_of(x.shape(), dy.shape(), pad_, &conv));
    const tensorflow::Tensor &in_scale = context->input(2), &out_scale = context->input(3);
    OP_REQUIRES_OK(context, check_scales(conv, in_scale.shape(), out_scale.shape()));
    tensorflow::Tensor* gradient;
    OP_REQUIRES_OK(context, context->allocate_output(0, {3, 3, conv.in_channels, conv.out_channels}, &gradient));
    if (gradient->NumElements() == 0) return;
    const Conv3x3KernelGradientCpu cpu(conv);
    tensorflow::Tensor sums;
    OP_REQUIRES_OK(context, context->allocate_temp(x.dtype(), {cpu.sums_size()}, &sums));
    float* to = sums.flat<float>().data();
    auto workers = context->device()->tensorflow_cpu_worker_threads();
    tensorflow::Shard(workers->num_threads, workers->workers, cpu.tiles(), static_cast<int64_t>(1 + cpu.tile_cycles()),
                      [&](int64_t first, int64_t last) {
                        cpu.run(first, last, floats(x), floats(dy), scales_of(in_scale, out_scale), to);
                      });
    tensorflow::Shard(workers->num_threads, workers->workers, conv.in_channels,
                      static_cast<int64_t>(1 + cpu.sum_cycles()),
                      [&](int64_t first, int64_t last) { cpu.sum(first, last, to, gradient->flat<float>().data()); });
  }

 private:
  int64_t pad_;
};

REGISTER_KERNEL_BUILDER(Name("Sg3>Conv3x3").Device(tensorflow::DEVICE_CPU).TypeConstraint<float>("T"), Conv3x3Op);
REGISTER_KERNEL_BUILDER(Name("Sg3>Conv3x3KernelGradient").Device(tensorflow::DEVICE_CPU).TypeConstraint<float>("T"),
                        Conv3x3KernelGradientOp);

}  // namespace
}  // namespace sg3
