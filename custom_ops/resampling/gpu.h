// TensorFlow's stream, and what CUDA says of a launch.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_GPU_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_GPU_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "xla/stream_executor/stream.h"

namespace sg3 {

inline void* stream_of(tensorflow::OpKernelContext* context) {
  return context->op_device_context()->stream()->platform_specific_handle().stream;
}

// `code`: a cudaError_t.
inline absl::Status launched(const std::string& operation, int code) {
  if (code == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat(operation, ": CUDA error ", code, " when launched; SG3TF_OPS=xla runs without"));
}

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_GPU_H_
