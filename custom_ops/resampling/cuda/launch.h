// Kernel launches and the limits of the current device. CUDA only.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_LAUNCH_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_LAUNCH_H_

#include <cuda_runtime.h>

#include <algorithm>

#include "custom_ops/resampling/cuda/plan.h"
#include "custom_ops/resampling/cuda/tile.h"

namespace sg3::cuda {

constexpr int64_t kMaxBlocks = (int64_t(1) << 31) - 1;

// Runs phases of a block on the device, with a barrier after each one.
struct BlockBarrier {
  template <class Phase>
  __device__ __forceinline__ void operator()(Phase phase) const {
    phase(Worker{int(threadIdx.x), int(blockDim.x)});
    __syncthreads();
  }
};

inline cudaError_t shared_limits(SharedLimits* limits) {
  int device, block, multiprocessor, reserved;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&block, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&multiprocessor, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device);
  }
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&reserved, cudaDevAttrReservedSharedMemoryPerBlock, device);
  if (error == cudaSuccess) *limits = {block, multiprocessor / 2 - reserved};
  return error;
}

// Launches a kernel that itself loops over blocks beyond the limit of a grid.
template <class... Args>
cudaError_t launch(void (*kernel)(Args...), int64_t blocks, int threads, int64_t shared_floats,
                   const SharedLimits& limits, cudaStream_t stream, Args... args) {
  const void* function = reinterpret_cast<const void*>(kernel);
  // Always the same number, because other threads may launch the same kernel at the same time.
  const cudaError_t error =
      cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, int(limits.block));
  if (error != cudaSuccess) return error;
  void* pointers[] = {&args...};
  return cudaLaunchKernel(function, dim3(unsigned(std::min(blocks, kMaxBlocks))), dim3(unsigned(threads)), pointers,
                          size_t(shared_floats) * sizeof(float), stream);
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_LAUNCH_H_
