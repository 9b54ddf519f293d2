// Sg3>FilteredLrelu and Sg3>FilteredLreluMasked under jit_compile=True: custom calls of the same kernels.

#include <vector>

#include "custom_ops/filtered_lrelu/handler.h"
#include "custom_ops/filtered_lrelu/op.h"
#include "custom_ops/xla/custom_call.h"
#include "custom_ops/xla/handler.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "xla/hlo/builder/lib/constants.h"

// Exported so that tests can register it with JAX.
XLA_FFI_DEFINE_HANDLER_SYMBOL(sg3_filtered_lrelu_host, sg3::filtered_lrelu<xla::ffi::ThreadPool>,
                              sg3::filtered_lrelu_binding<xla::ffi::ThreadPool>());

namespace sg3 {
namespace {

namespace ffi = xla::ffi;
using tensorflow::OpKernelConstruction;
using tensorflow::TensorShape;
using tensorflow::XlaOpKernel;
using tensorflow::XlaOpKernelContext;

constexpr char kTarget[] = "sg3_filtered_lrelu";

class FilteredLreluXla : public XlaOpKernel {
 public:
  explicit FilteredLreluXla(OpKernelConstruction* context) : XlaOpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context, false));
    OP_REQUIRES_OK(context, context->GetAttr("write_mask", &write_mask_));
  }

  void Compile(XlaOpKernelContext* context) override {
    TensorShape x = context->InputShape(0);
    OP_REQUIRES_OK(context, check_inputs(x, context->InputShape(1)));
    Sg3FilteredLrelu problem;
    OP_REQUIRES_OK(context, attributes_.problem(x.dim_size(0), x.dim_size(1), x.dim_size(2), x.dim_size(3),
                                                write_mask_ ? SG3_ACTIVATE_AND_MASK : SG3_ACTIVATE, &problem));
    std::vector<xla::Shape> results = {row_major(context->input_xla_type(0), output_shape(problem).dim_sizes())};
    if (write_mask_) results.push_back(row_major(xla::U32, mask_shape(problem).dim_sizes()));
    std::vector<xla::XlaOp> outputs = custom_call(kTarget, {context->Input(0), context->Input(1)}, results,
                                                  element_type(context->input_type(0)), problem);
    context->SetOutput(0, outputs[0]);
    context->SetOutput(1, write_mask_ ? outputs[1] : xla::Zeros(context->builder(), row_major(xla::U32, {0, 0, 0, 0})));
  }

 private:
  FilteredLreluAttributes attributes_;
  bool write_mask_;
};

class FilteredLreluMaskedXla : public XlaOpKernel {
 public:
  explicit FilteredLreluMaskedXla(OpKernelConstruction* context) : XlaOpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context, true));
  }

  void Compile(XlaOpKernelContext* context) override {
    TensorShape v = context->InputShape(0);
    OP_REQUIRES_OK(context, check_images("v", v));
    Sg3FilteredLrelu problem;
    OP_REQUIRES_OK(context, attributes_.problem(v.dim_size(0), v.dim_size(1), v.dim_size(2), v.dim_size(3),
                                                SG3_APPLY_MASK, &problem));
    OP_REQUIRES_OK(context, check_mask(problem, context->InputShape(1)));
    xla::Shape y = row_major(context->input_xla_type(0), output_shape(problem).dim_sizes());
    context->SetOutput(0, custom_call(kTarget, {context->Input(0), context->Input(1)}, {y},
                                      element_type(context->input_type(0)), problem)[0]);
  }

 private:
  FilteredLreluAttributes attributes_;
};

REGISTER_KERNEL_BUILDER(Name("Sg3>FilteredLrelu").Device("XLA_CPU_JIT"), FilteredLreluXla);
REGISTER_KERNEL_BUILDER(Name("Sg3>FilteredLreluMasked").Device("XLA_CPU_JIT"), FilteredLreluMaskedXla);
XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kTarget, "Host", sg3_filtered_lrelu_host);

REGISTER_KERNEL_BUILDER(Name("Sg3>FilteredLrelu").Device("XLA_GPU_JIT").TypeConstraint("T", cuda_types()),
                        FilteredLreluXla);
REGISTER_KERNEL_BUILDER(Name("Sg3>FilteredLreluMasked").Device("XLA_GPU_JIT").TypeConstraint("T", cuda_types()),
                        FilteredLreluMaskedXla);
XLA_FFI_DEFINE_HANDLER(kOnCuda, filtered_lrelu<void*>, filtered_lrelu_binding<ffi::PlatformStream<void*>>());
XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kTarget, "CUDA", kOnCuda);

}  // namespace
}  // namespace sg3
