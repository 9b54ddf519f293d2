// TensorFlow's CUDA stream, and the status of a launch.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_TF_GPU_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_TF_GPU_H_

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "custom_ops/jit/kernels.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "xla/stream_executor/stream.h"

namespace sg3 {

inline void* cuda_stream(tensorflow::OpKernelContext* context) {
  return context->op_device_context()->stream()->platform_specific_handle().stream;
}

// Converts the result of a launcher for the operation of `context`.
inline absl::Status launch_status(tensorflow::OpKernelContext* context, int code) {
  if (code == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(context->op_kernel().type_string(), ": ", sg3_cuda_message(code),
                                          "; SG3TF_OPS=xla does without this operation"));
}

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_TF_GPU_H_
