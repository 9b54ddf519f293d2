// TensorFlow kernels of an operation: launches its tiles on the CPU, and registers kernels for all element types.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_TF_KERNELS_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_TF_KERNELS_H_

#include "custom_ops/resampling/stage.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/util/work_sharder.h"

namespace sg3 {

// The `Device` that runs an operation on the CPU. `Cpu` is a Tiled (cpu/tiled.h).
template <class Cpu>
struct CpuDevice {
  static absl::Status launch(tensorflow::OpKernelContext* context, const typename Cpu::Problem& problem, Sg3Type type,
                             const typename Cpu::Arrays& arrays) {
    auto workers = context->device()->tensorflow_cpu_worker_threads();
    Cpu cpu(problem, type, workers->num_threads);
    tensorflow::Shard(workers->num_threads, workers->workers, cpu.tiles(), cpu.tile_cycles(),
                      [&](int64_t first, int64_t last) { cpu.run(first, last, arrays); });
    return absl::OkStatus();
  }
};

}  // namespace sg3

#define SG3_REGISTER_KERNEL(name, device, T, ...) \
  REGISTER_KERNEL_BUILDER(Name(name).Device(tensorflow::device).TypeConstraint<T>("T"), __VA_ARGS__);

#define SG3_REGISTER_CPU_KERNELS(name, ...)                       \
  SG3_REGISTER_KERNEL(name, DEVICE_CPU, float, __VA_ARGS__)       \
  SG3_REGISTER_KERNEL(name, DEVICE_CPU, double, __VA_ARGS__)      \
  SG3_REGISTER_KERNEL(name, DEVICE_CPU, Eigen::half, __VA_ARGS__) \
  SG3_REGISTER_KERNEL(name, DEVICE_CPU, Eigen::bfloat16, __VA_ARGS__)

// The CUDA kernels do not support float64.
#define SG3_REGISTER_GPU_KERNELS(name, ...)                       \
  SG3_REGISTER_KERNEL(name, DEVICE_GPU, float, __VA_ARGS__)       \
  SG3_REGISTER_KERNEL(name, DEVICE_GPU, Eigen::half, __VA_ARGS__) \
  SG3_REGISTER_KERNEL(name, DEVICE_GPU, Eigen::bfloat16, __VA_ARGS__)

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_TF_KERNELS_H_
