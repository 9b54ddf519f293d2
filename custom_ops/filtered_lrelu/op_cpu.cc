// Sg3>FilteredLrelu and Sg3>FilteredLreluMasked on the processor.

#include "custom_ops/filtered_lrelu/cpu.h"
#include "custom_ops/filtered_lrelu/op.h"
#include "tensorflow/core/util/work_sharder.h"

namespace sg3 {
namespace {

struct Cpu {
  static absl::Status launch(tensorflow::OpKernelContext* context, const Sg3FilteredLrelu& problem, Sg3Type type,
                             const FilteredLreluArrays& arrays) {
    auto workers = context->device()->tensorflow_cpu_worker_threads();
    FilteredLreluCpu cpu(problem, type, workers->num_threads);
    tensorflow::Shard(
        workers->num_threads, workers->workers, cpu.tiles(), cpu.tile_cycles(),
        [&](int64_t first, int64_t last) { cpu.run(first, last, arrays.x, arrays.bias, arrays.y, arrays.mask); });
    return absl::OkStatus();
  }
};

#define SG3_REGISTER_ONE(name, T, Kernel) \
  REGISTER_KERNEL_BUILDER(Name(name).Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), Kernel<Cpu>);
#define SG3_REGISTER(T)                                     \
  SG3_REGISTER_ONE("Sg3>FilteredLrelu", T, FilteredLreluOp) \
  SG3_REGISTER_ONE("Sg3>FilteredLreluMasked", T, FilteredLreluMaskedOp)
SG3_REGISTER(float)
SG3_REGISTER(double)
SG3_REGISTER(Eigen::half)
SG3_REGISTER(Eigen::bfloat16)
#undef SG3_REGISTER
#undef SG3_REGISTER_ONE

}  // namespace
}  // namespace sg3
