// Sg3>Upfirdn2d under jit_compile=True: a custom call of the same kernels.

#include <vector>

#include "custom_ops/upfirdn2d/cpu.h"
#include "custom_ops/upfirdn2d/op.h"
#include "custom_ops/xla/custom_call.h"
#include "custom_ops/xla/handler.h"
#include "custom_ops/xla/share.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "xla/ffi/api/ffi.h"

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

ffi::Error run(ffi::ThreadPool pool, const Sg3Upfirdn2d& problem, Sg3Type type, const Upfirdn2dArrays& arrays) {
  run_on_pool(pool, Upfirdn2dCpu(problem, type, pool.num_threads()), arrays);
  return ffi::Error::Success();
}

ffi::Error run(void* stream, const Sg3Upfirdn2d& problem, Sg3Type type, const Upfirdn2dArrays& arrays) {
  return cuda_status(sg3_cuda_upfirdn2d(&problem, type, arrays.x, arrays.y, stream));
}

template <class Context>
ffi::Error handle(Context context, ffi::AnyBuffer x, ffi::Result<ffi::AnyBuffer> y, int64_t type,
                  ffi::Span<const int64_t> words) {
  if (y->element_count() == 0) return ffi::Error::Success();
  return run(context, unpack<Sg3Upfirdn2d>(words.begin()), static_cast<Sg3Type>(type),
             {x.untyped_data(), y->untyped_data()});
}

template <class Context>
auto binding() {
  return ffi::Ffi::Bind()
      .Ctx<Context>()
      .template Arg<ffi::AnyBuffer>()
      .template Ret<ffi::AnyBuffer>()
      .template Attr<int64_t>("type")
      .template Attr<ffi::Span<const int64_t>>("problem");
}

REGISTER_KERNEL_BUILDER(Name("Sg3>Upfirdn2d").Device("XLA_CPU_JIT"), Upfirdn2dXla);
XLA_FFI_DEFINE_HANDLER(kOnHost, handle<ffi::ThreadPool>, binding<ffi::ThreadPool>());
XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kTarget, "Host", kOnHost);

REGISTER_KERNEL_BUILDER(Name("Sg3>Upfirdn2d").Device("XLA_GPU_JIT").TypeConstraint("T", cuda_types()), Upfirdn2dXla);
XLA_FFI_DEFINE_HANDLER(kOnCuda, handle<void*>, binding<ffi::PlatformStream<void*>>());
XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kTarget, "CUDA", kOnCuda);

}  // namespace
}  // namespace sg3
