// Sg3>FilteredLrelu and Sg3>FilteredLreluMasked on the CPU.

#include "custom_ops/filtered_lrelu/cpu.h"
#include "custom_ops/filtered_lrelu/op.h"

namespace sg3 {
namespace {

SG3_REGISTER_CPU_KERNELS("Sg3>FilteredLrelu", FilteredLreluOp<CpuDevice<FilteredLreluCpu>>)
SG3_REGISTER_CPU_KERNELS("Sg3>FilteredLreluMasked", FilteredLreluMaskedOp<CpuDevice<FilteredLreluCpu>>)

}  // namespace
}  // namespace sg3
