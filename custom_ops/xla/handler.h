// What the handlers of XLA's custom calls have in common. They are written against XLA's stable interface.

#ifndef SG3TF_CUSTOM_OPS_XLA_HANDLER_H_
#define SG3TF_CUSTOM_OPS_XLA_HANDLER_H_

#include <string>
#include <vector>

#include "tensorflow/core/framework/types.h"
#include "xla/ffi/api/ffi.h"

namespace xla::ffi {
// Of TensorFlow's libraries; the header that declares it cannot be compiled with what the wheel contains.
const XLA_FFI_Api* GetXlaFfiApi();
}  // namespace xla::ffi

namespace sg3 {

// The element types of the CUDA kernels.
inline std::vector<tensorflow::DataType> cuda_types() {
  return {tensorflow::DT_FLOAT, tensorflow::DT_HALF, tensorflow::DT_BFLOAT16};
}

// Of what a CUDA launcher returned.
inline xla::ffi::Error cuda_status(int error) {
  if (error == 0) return xla::ffi::Error::Success();
  return xla::ffi::Error::Internal("the CUDA kernel could not be launched: cudaError_t " + std::to_string(error));
}

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_XLA_HANDLER_H_
