// Shared parts of the kernels for XLA in TensorFlow (op_xla.cc).

#ifndef SG3TF_CUSTOM_OPS_XLA_HANDLER_H_
#define SG3TF_CUSTOM_OPS_XLA_HANDLER_H_

#include <vector>

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

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_XLA_HANDLER_H_
