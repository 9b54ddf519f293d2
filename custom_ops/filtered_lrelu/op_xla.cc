// Sg3>FilteredLrelu and Sg3>FilteredLreluMasked under jit_compile=True: custom calls of the same kernels.

#include <vector>

#include "custom_ops/filtered_lrelu/cpu.h"
#include "custom_ops/filtered_lrelu/op.h"
#include "custom_ops/xla/custom_call.h"
#include "custom_ops/xla/handler.h"
#include "custom_ops/xla/share.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "xla/ffi/api/ffi.h"
#include "xla/hlo/builder/lib/constants.h"

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

ffi::Error run(ffi::ThreadPool pool, const Sg3FilteredLrelu& problem, Sg3Type type, const FilteredLreluArrays& arrays) {
  run_on_pool(pool, FilteredLreluCpu(problem, type, pool.num_threads()), arrays);
  return ffi::Error::Success();
}

ffi::Error run(void* stream, const Sg3FilteredLrelu& problem, Sg3Type type, const FilteredLreluArrays& arrays) {
  return cuda_status(sg3_cuda_filtered_lrelu(&problem, type, arrays.x, arrays.bias, arrays.y, arrays.mask, stream));
}

// Computes (y) or (y, mask) from (x, bias), or (y) from (v, mask), depending on the problem's mode.
template <class Context>
ffi::Error handle(Context context, ffi::AnyBuffer x, ffi::AnyBuffer second, ffi::RemainingRets results, int64_t type,
                  ffi::Span<const int64_t> words) {
  auto problem = unpack<Sg3FilteredLrelu>(words.begin());
  if (output_shape(problem).num_elements() == 0) return ffi::Error::Success();
  auto result = [&](size_t i) { return results.get<ffi::AnyBuffer>(i).value()->untyped_data(); };
  bool masked = problem.mode == SG3_APPLY_MASK;
  void* mask = masked ? second.untyped_data() : problem.mode == SG3_ACTIVATE_AND_MASK ? result(1) : nullptr;
  const void* bias = masked ? nullptr : second.untyped_data();
  return run(context, problem, static_cast<Sg3Type>(type), {x.untyped_data(), bias, result(0), mask});
}

template <class Context>
auto binding() {
  return ffi::Ffi::Bind()
      .Ctx<Context>()
      .template Arg<ffi::AnyBuffer>()
      .template Arg<ffi::AnyBuffer>()
      .RemainingRets()
      .template Attr<int64_t>("type")
      .template Attr<ffi::Span<const int64_t>>("problem");
}

REGISTER_KERNEL_BUILDER(Name("Sg3>FilteredLrelu").Device("XLA_CPU_JIT"), FilteredLreluXla);
REGISTER_KERNEL_BUILDER(Name("Sg3>FilteredLreluMasked").Device("XLA_CPU_JIT"), FilteredLreluMaskedXla);
XLA_FFI_DEFINE_HANDLER(kOnHost, handle<ffi::ThreadPool>, binding<ffi::ThreadPool>());
XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kTarget, "Host", kOnHost);

REGISTER_KERNEL_BUILDER(Name("Sg3>FilteredLrelu").Device("XLA_GPU_JIT").TypeConstraint("T", cuda_types()),
                        FilteredLreluXla);
REGISTER_KERNEL_BUILDER(Name("Sg3>FilteredLreluMasked").Device("XLA_GPU_JIT").TypeConstraint("T", cuda_types()),
                        FilteredLreluMaskedXla);
XLA_FFI_DEFINE_HANDLER(kOnCuda, handle<void*>, binding<ffi::PlatformStream<void*>>());
XLA_FFI_REGISTER_HANDLER(ffi::GetXlaFfiApi(), kTarget, "CUDA", kOnCuda);

}  // namespace
}  // namespace sg3
