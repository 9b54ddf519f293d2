// Sg3>ScaleChannels and Sg3>SumPixels under jit_compile=True, for functions that were traced outside it. They become
// XLA's own operations.

#include "custom_ops/channels/op.h"
#include "tensorflow/compiler/tf2xla/type_util.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "xla/hlo/builder/lib/arithmetic.h"
#include "xla/hlo/builder/lib/constants.h"
#include "xla/hlo/builder/xla_builder.h"

namespace sg3 {
namespace {

class ScaleChannelsXla : public tensorflow::XlaOpKernel {
 public:
  explicit ScaleChannelsXla(tensorflow::OpKernelConstruction* context) : XlaOpKernel(context) {
    OP_REQUIRES_OK(context, check_wide_type("Factors", input_type(1), input_type(0)));
  }

  void Compile(tensorflow::XlaOpKernelContext* context) override {
    OP_REQUIRES_OK(context, check_scale(context->InputShape(0), context->InputShape(1)));
    xla::XlaOp x = xla::ConvertElementType(context->Input(0), context->input_xla_type(1));
    context->SetOutput(0, xla::ConvertElementType(xla::Mul(x, context->Input(1), {0, 3}), context->input_xla_type(0)));
  }
};

class SumPixelsXla : public tensorflow::XlaOpKernel {
 public:
  explicit SumPixelsXla(tensorflow::OpKernelConstruction* context) : XlaOpKernel(context) {
    OP_REQUIRES_OK(context, check_wide_type("Sums", output_type(0), input_type(0)));
  }

  void Compile(tensorflow::XlaOpKernelContext* context) override {
    const int last = context->num_inputs() - 1;
    OP_REQUIRES_OK(context, check_sums(context->num_inputs(), context->InputShape(0), context->InputShape(last)));
    xla::PrimitiveType type;
    OP_REQUIRES_OK(context, tensorflow::DataTypeToPrimitiveType(output_type(0), &type));
    xla::XlaOp products = xla::ConvertElementType(context->Input(0), type);
    if (last == 1) products = xla::Mul(products, xla::ConvertElementType(context->Input(1), type));
    context->SetOutput(0, xla::Reduce(products, xla::Zero(context->builder(), type),
                                      xla::CreateScalarAddComputation(type, context->builder()), {1, 2}));
  }
};

REGISTER_KERNEL_BUILDER(Name("Sg3>ScaleChannels").Device("XLA_CPU_JIT"), ScaleChannelsXla);
REGISTER_KERNEL_BUILDER(Name("Sg3>ScaleChannels").Device("XLA_GPU_JIT"), ScaleChannelsXla);
REGISTER_KERNEL_BUILDER(Name("Sg3>SumPixels").Device("XLA_CPU_JIT"), SumPixelsXla);
REGISTER_KERNEL_BUILDER(Name("Sg3>SumPixels").Device("XLA_GPU_JIT"), SumPixelsXla);

}  // namespace
}  // namespace sg3
