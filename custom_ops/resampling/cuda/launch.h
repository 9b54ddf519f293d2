// Helpers for launchers: they read the limits of a stream's device, and launch a kernel that is compiled at first use.
// Plain C++. Launchers return a CUresult, 0 for success; sg3_cuda_message describes the last failure.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_LAUNCH_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_LAUNCH_H_

#include <algorithm>

#include "custom_ops/jit/kernels.h"
#include "custom_ops/resampling/cuda/plan.h"
#include "custom_ops/resampling/cuda/tile.h"

namespace sg3::cuda {

using jit::fail;
using jit::kInvalidValue;
using jit::kNotSupported;
using jit::kSuccess;

constexpr int64_t kMaxBlocks = (int64_t(1) << 31) - 1;

inline int shared_limits(void* stream, SharedLimits* limits) {
  jit::SharedMemory memory;
  const int error = jit::shared_memory(stream, &memory);
  if (error == kSuccess) {
    *limits = {memory.block, memory.multiprocessor / 2 - memory.reserved, memory.multiprocessors};
  }
  return error;
}

inline bool has_tensor_cores(void* stream) {
  int major = 0;
  return jit::compute_capability(stream, &major) == kSuccess && major >= 8;  // of the kind that the kernels use
}

// Launches a kernel. A grid has at most kMaxBlocks blocks; the kernel must loop over any others itself. The types of
// the arguments must be those of the kernel's parameters.
template <class... Args>
int launch(const jit::Variant& variant, int64_t blocks, int threads, int64_t shared_floats, void* stream,
           const Args&... args) {
  const void* parameters[] = {&args...};
  return jit::launch_kernel(
      variant,
      {unsigned(std::min(blocks, kMaxBlocks)), unsigned(threads), unsigned(shared_floats * int64_t(sizeof(float))),
       const_cast<void**>(parameters), (sizeof(Args) + ...)},
      stream);
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_LAUNCH_H_
