// Sg3>Upfirdn2d under jit_compile=True: a custom call of the same kernels.

#include <vector>

#include "custom_ops/upfirdn2d/handler.h"
#include "custom_ops/upfirdn2d/op.h"
#include "custom_ops/xla/custom_call.h"
#include "custom_ops/xla/handler.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/core/framework/op_kernel.h"

// Exported so that tests can register it with JAX.
XLA_FFI_DEFINE_HANDLER_SYMBOL(sg3_upfirdn2d_host, sg3::upfirdn2d<xla::ffi::ThreadPool>,
                              sg3::upfirdn2d_binding<xla::ffi::ThreadPool>());

namespace sg3 {
namespace {

namespace ffi = xla::ffi;

constexpr char kTarget[] = "sg3_upfirdn2d";

class Upfirdn2dXla : public tensorflow::XlaOpKernel {
 public:
  explicit Upfirdn2dXla(tensorflow::OpKernelConstruction* context) : XlaOpKernel(context) {
    OP_REQUIRES_OK(context, attributes_.read(context, "up", "down", "pad", ""));
  }

  void Compile(tensorflow::XlaOpKernelContext* context) override {
    tensorflow::TensorShape x = context->InputShape(0);
    OP_REQUIRES_OK(context, check_images("x", x));
    Sg3Upfirdn2d problem = {x.dim_size(0), x.dim_size(3), {}};
    OP_REQUIRES_OK(context, attributes_.stage(x.dim_size(1), x.dim_size(2), &problem.stage));
    xla::Shape y = row_major(context->input_xla_type(0), output_shape(problem).dim_sizes());
    context->SetOutput(
        0, custom_call(kTarget, {context->Input(0)}, {y}, element_type(context->input_type(0)), problem)[0]);
  }

 private:
  StageAttributes attributes_;
};

REGISTER_KERNEL_BUILDER(Name("Sg3>Upfirdn2d").Device("XLA_CPU_JIT"), Upfirdn2dXla);
XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kTarget, "Host", sg3_upfirdn2d_host);

REGISTER_KERNEL_BUILDER(Name("Sg3>Upfirdn2d").Device("XLA_GPU_JIT").TypeConstraint("T", cuda_types()), Upfirdn2dXla);
XLA_FFI_DEFINE_HANDLER(kOnCuda, upfirdn2d<void*>, upfirdn2d_binding<ffi::PlatformStream<void*>>());
XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kTarget, "CUDA", kOnCuda);

}  // namespace
}  // namespace sg3
