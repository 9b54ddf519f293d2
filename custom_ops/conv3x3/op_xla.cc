// Sg3>Conv3x3 and Sg3>Conv3x3KernelGradient under jit_compile=True, for functions that were traced outside it. They
// become XLA's own convolutions.

#include "custom_ops/conv3x3/op.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "xla/hlo/builder/xla_builder.h"

namespace sg3 {
namespace {

// Multiplies images by the operation's input number `scale`, unless that input is empty.
xla::XlaOp scaled(tensorflow::XlaOpKernelContext* context, const xla::XlaOp& images, int scale) {
  if (context->InputShape(scale).num_elements() == 0) return images;
  return xla::Mul(images, context->Input(scale), {0, 3});
}

class Conv3x3Xla : public tensorflow::XlaOpKernel {
 public:
  explicit Conv3x3Xla(tensorflow::OpKernelConstruction* context) : XlaOpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("pad", &pad_));
    OP_REQUIRES_OK(context, check_pad(pad_));
  }

  void Compile(tensorflow::XlaOpKernelContext* context) override {
    Conv3x3 conv;
    OP_REQUIRES_OK(context, conv3x3_of(context->InputShape(0), context->InputShape(1), pad_, &conv));
    OP_REQUIRES_OK(context, check_scales(conv, context->InputShape(2), context->InputShape(3)));
    xla::ConvolutionDimensionNumbers layout;
    layout.set_input_batch_dimension(0);
    layout.set_output_batch_dimension(0);
    layout.set_input_feature_dimension(3);
    layout.set_output_feature_dimension(3);
    layout.set_kernel_input_feature_dimension(2);
    layout.set_kernel_output_feature_dimension(3);
    for (int axis : {0, 1}) {
      layout.add_input_spatial_dimensions(1 + axis);
      layout.add_output_spatial_dimensions(1 + axis);
      layout.add_kernel_spatial_dimensions(axis);
    }
    xla::XlaOp y = xla::ConvGeneralDilated(scaled(context, context->Input(0), 2), context->Input(1), {1, 1},
                                           {{pad_, pad_}, {pad_, pad_}}, {1, 1}, {1, 1}, layout);
    context->SetOutput(0, scaled(context, y, 3));
  }

 private:
  int64_t pad_;
};

class Conv3x3KernelGradientXla : public tensorflow::XlaOpKernel {
 public:
  explicit Conv3x3KernelGradientXla(tensorflow::OpKernelConstruction* context) : XlaOpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("pad", &pad_));
    OP_REQUIRES_OK(context, check_pad(pad_));
  }

  // A convolution of x with dy, with the channels of x in the role of images, and images in the role of channels.
  void Compile(tensorflow::XlaOpKernelContext* context) override {
    Conv3x3 conv;
    OP_REQUIRES_OK(context, conv3x3_gradient_of(context->InputShape(0), context->InputShape(1), pad_, &conv));
    OP_REQUIRES_OK(context, check_scales(conv, context->InputShape(2), context->InputShape(3)));
    xla::ConvolutionDimensionNumbers layout;
    layout.set_input_batch_dimension(3);
    layout.set_input_feature_dimension(0);
    layout.set_kernel_input_feature_dimension(0);
    layout.set_kernel_output_feature_dimension(3);
    layout.set_output_batch_dimension(2);
    layout.set_output_feature_dimension(3);
    for (int axis : {0, 1}) {
      layout.add_input_spatial_dimensions(1 + axis);
      layout.add_kernel_spatial_dimensions(1 + axis);
      layout.add_output_spatial_dimensions(axis);
    }
    context->SetOutput(
        0, xla::ConvGeneralDilated(scaled(context, context->Input(0), 2), scaled(context, context->Input(1), 3), {1, 1},
                                   {{pad_, pad_}, {pad_, pad_}}, {1, 1}, {1, 1}, layout));
  }

 private:
  int64_t pad_;
};

REGISTER_KERNEL_BUILDER(Name("Sg3>Conv3x3KernelGradient").Device("XLA_CPU_JIT"), Conv3x3KernelGradientXla);
REGISTER_KERNEL_BUILDER(Name("Sg3>Conv3x3KernelGradient").Device("XLA_GPU_JIT"), Conv3x3KernelGradientXla);
REGISTER_KERNEL_BUILDER(Name("Sg3>Conv3x3").Device("XLA_CPU_JIT"), Conv3x3Xla);
REGISTER_KERNEL_BUILDER(Name("Sg3>Conv3x3").Device("XLA_GPU_JIT"), Conv3x3Xla);

}  // namespace
}  // namespace sg3
