// Runs the phases of a block on the device. CUDA only.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_BARRIER_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_BARRIER_H_

#include "custom_ops/resampling/cuda/tile.h"

namespace sg3::cuda {

// Calls a phase on every thread, followed by a barrier.
struct BlockBarrier {
  template <class Phase>
  __device__ __forceinline__ void operator()(Phase phase) const {
    phase(Worker{int(threadIdx.x), int(blockDim.x)});
    __syncthreads();
  }
};

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_BARRIER_H_
