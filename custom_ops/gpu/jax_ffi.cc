// The CUDA handlers of the project's XLA custom calls without TensorFlow, for programs that run in JAX. jit/build.sh
// compiles it together with the launchers; see run_all.sh.

#include <string>

#include "custom_ops/jit/kernels.h"
#include "custom_ops/xla/pack.h"
#include "xla/ffi/api/ffi.h"

namespace {

namespace ffi = xla::ffi;

ffi::Error status(int code) {
  if (code == 0) return ffi::Error::Success();
  return ffi::Error::Internal(std::string("the CUDA kernel could not be launched: ") + sg3_cuda_message(code));
}

ffi::Error filtered_lrelu(void* stream, ffi::AnyBuffer x, ffi::AnyBuffer second, ffi::RemainingRets results,
                          int64_t type, ffi::Span<const int64_t> words) {
  const auto problem = sg3::unpack<Sg3FilteredLrelu>(words.begin());
  const auto result = [&](size_t i) { return results.get<ffi::AnyBuffer>(i).value()->untyped_data(); };
  const bool masked = problem.mode == SG3_APPLY_MASK;
  const void* bias = masked ? nullptr : second.untyped_data();
  void* mask = masked ? second.untyped_data() : problem.mode == SG3_ACTIVATE_AND_MASK ? result(1) : nullptr;
  return status(sg3_cuda_filtered_lrelu(&problem, int(type), x.untyped_data(), bias, result(0), mask, stream));
}

ffi::Error upfirdn2d(void* stream, ffi::AnyBuffer x, ffi::Result<ffi::AnyBuffer> y, int64_t type,
                     ffi::Span<const int64_t> words) {
  const auto problem = sg3::unpack<Sg3Upfirdn2d>(words.begin());
  return status(sg3_cuda_upfirdn2d(&problem, int(type), x.untyped_data(), y->untyped_data(), stream));
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(sg3_filtered_lrelu_ffi, filtered_lrelu,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::PlatformStream<void*>>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .RemainingRets()
                                  .Attr<int64_t>("type")
                                  .Attr<ffi::Span<const int64_t>>("problem"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(sg3_upfirdn2d_ffi, upfirdn2d,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::PlatformStream<void*>>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<int64_t>("type")
                                  .Attr<ffi::Span<const int64_t>>("problem"));
