// Sg3>Upfirdn2d on the processor.

#include "custom_ops/upfirdn2d/cpu.h"
#include "custom_ops/upfirdn2d/op.h"
#include "tensorflow/core/util/work_sharder.h"

namespace sg3 {
namespace {

struct Cpu {
  static absl::Status launch(tensorflow::OpKernelContext* context, const Sg3Upfirdn2d& problem, Sg3Type type,
                             const void* x, void* y) {
    auto workers = context->device()->tensorflow_cpu_worker_threads();
    Upfirdn2dCpu cpu(problem, type, workers->num_threads);
    tensorflow::Shard(workers->num_threads, workers->workers, cpu.tiles(), cpu.tile_cycles(),
                      [&](int64_t first, int64_t last) { cpu.run(first, last, x, y); });
    return absl::OkStatus();
  }
};

#define SG3_REGISTER(T)                                                                                \
  REGISTER_KERNEL_BUILDER(Name("Sg3>Upfirdn2d").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
                          Upfirdn2dOp<Cpu>);
SG3_REGISTER(float)
SG3_REGISTER(double)
SG3_REGISTER(Eigen::half)
SG3_REGISTER(Eigen::bfloat16)
#undef SG3_REGISTER

}  // namespace
}  // namespace sg3
