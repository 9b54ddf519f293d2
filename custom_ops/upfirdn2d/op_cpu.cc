// Sg3>Upfirdn2d on the CPU.

#include "custom_ops/upfirdn2d/cpu.h"
#include "custom_ops/upfirdn2d/op.h"

namespace sg3 {
namespace {

SG3_REGISTER_CPU_KERNELS("Sg3>Upfirdn2d", Upfirdn2dOp<CpuDevice<Upfirdn2dCpu>>)

}  // namespace
}  // namespace sg3
