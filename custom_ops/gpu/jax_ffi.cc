// The CUDA handlers of the project's XLA custom calls, without TensorFlow, for programs that run in JAX. jit/build.sh
// compiles them together with the launchers; see run_all.sh.

#include "custom_ops/filtered_lrelu/handler.h"
#include "custom_ops/upfirdn2d/handler.h"

using Stream = xla::ffi::PlatformStream<void*>;

XLA_FFI_DEFINE_HANDLER_SYMBOL(sg3_filtered_lrelu_cuda, sg3::filtered_lrelu<void*>,
                              sg3::filtered_lrelu_binding<Stream>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(sg3_upfirdn2d_cuda, sg3::upfirdn2d<void*>, sg3::upfirdn2d_binding<Stream>());
