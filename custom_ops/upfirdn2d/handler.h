// The handler of upfirdn2d in XLA programs, with TensorFlow (op_xla.cc) and without it (gpu/jax_ffi.cc).

#ifndef SG3TF_CUSTOM_OPS_UPFIRDN2D_HANDLER_H_
#define SG3TF_CUSTOM_OPS_UPFIRDN2D_HANDLER_H_

#include "custom_ops/upfirdn2d/cpu.h"
#include "custom_ops/xla/cuda_status.h"
#include "custom_ops/xla/pack.h"
#include "custom_ops/xla/share.h"
#include "xla/ffi/api/ffi.h"

namespace sg3 {

inline xla::ffi::Error run(xla::ffi::ThreadPool pool, const Sg3Upfirdn2d& problem, Sg3Type type,
                           const Upfirdn2dArrays& arrays) {
  run_on_pool(pool, Upfirdn2dCpu(problem, type, pool.num_threads()), arrays);
  return xla::ffi::Error::Success();
}

inline xla::ffi::Error run(void* stream, const Sg3Upfirdn2d& problem, Sg3Type type, const Upfirdn2dArrays& arrays) {
  return cuda_status(sg3_cuda_upfirdn2d(&problem, type, arrays.x, arrays.y, stream));
}

template <class Context>
xla::ffi::Error upfirdn2d(Context context, xla::ffi::AnyBuffer x, xla::ffi::Result<xla::ffi::AnyBuffer> y, int64_t type,
                          xla::ffi::Span<const int64_t> words) {
  if (y->element_count() == 0) return xla::ffi::Error::Success();
  return run(context, unpack<Sg3Upfirdn2d>(words.begin()), static_cast<Sg3Type>(type),
             {x.untyped_data(), y->untyped_data()});
}

// `Context` is xla::ffi::ThreadPool or xla::ffi::PlatformStream<void*>.
template <class Context>
auto upfirdn2d_binding() {
  return xla::ffi::Ffi::Bind()
      .Ctx<Context>()
      .template Arg<xla::ffi::AnyBuffer>()
      .template Ret<xla::ffi::AnyBuffer>()
      .template Attr<int64_t>("type")
      .template Attr<xla::ffi::Span<const int64_t>>("problem");
}

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_UPFIRDN2D_HANDLER_H_
