// Shared parts of the handlers of XLA's custom calls, which use XLA's stable interface.

#ifndef SG3TF_CUSTOM_OPS_XLA_HANDLER_H_
#define SG3TF_CUSTOM_OPS_XLA_HANDLER_H_

#include <string>
#include <vector>

#include "custom_ops/jit/kernels.h"
#include "tensorflow/core/framework/types.h"
#include "xla/ffi/api/ffi.h"

namespace xla::ffi {
// Defined in TensorFlow's libraries; the header that declares it includes files that the wheel does not contain.
const XLA_FFI_Api* GetXlaFfiApi();
}  // namespace xla::ffi

namespace sg3 {

// The element types of the CUDA kernels.
inline std::vector<tensorflow::DataType> cuda_types() {
  return {tensorflow::DT_FLOAT, tensorflow::DT_HALF, tensorflow::DT_BFLOAT16};
}

// Converts the result of a CUDA launcher.
inline xla::ffi::Error cuda_status(int error) {
  if (error == 0) return xla::ffi::Error::Success();
  return xla::ffi::Error::Internal(std::string("the CUDA kernel could not be launched: ") + sg3_cuda_message(error));
}

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_XLA_HANDLER_H_
