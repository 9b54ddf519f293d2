// Converts the result of a CUDA launcher to that of an XLA handler.

#ifndef SG3TF_CUSTOM_OPS_XLA_CUDA_STATUS_H_
#define SG3TF_CUSTOM_OPS_XLA_CUDA_STATUS_H_

#include <string>

#include "custom_ops/jit/kernels.h"
#include "xla/ffi/api/ffi.h"

namespace sg3 {

inline xla::ffi::Error cuda_status(int error) {
  if (error == 0) return xla::ffi::Error::Success();
  return xla::ffi::Error::Internal(std::string("the CUDA kernel could not be launched: ") + sg3_cuda_message(error));
}

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_XLA_CUDA_STATUS_H_
