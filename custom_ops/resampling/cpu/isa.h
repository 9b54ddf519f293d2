// The instruction sets that kernels are compiled for, and the choice of one at run time.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CPU_ISA_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CPU_ISA_H_

#include "custom_ops/resampling/stage.h"

namespace sg3 {

enum class Isa { baseline, avx2, avx512 };  // x86-64 or any other processor, x86-64-v3, x86-64-v4

// Returns the best one that this processor supports, limited by the environment variable SG3TF_ISA.
Isa isa();
const char* name(Isa isa);

}  // namespace sg3

// Declares the kernels of a job, which kernel_cpu.cc defines once per instruction set (cpu/kernel.h), and functions
// that call the kernels for isa(). scratch_size is in scalars.
#define SG3_DECLARE_KERNEL_FOR(isa, Job)                                                    \
  namespace isa {                                                                           \
  int64_t scratch_size(const Job& job);                                                     \
  void run_tiles(const Job& job, Sg3Type type, int64_t first, int64_t last, void* scratch); \
  }
#if defined(__x86_64__)
#define SG3_DECLARE_KERNEL(Job)         \
  SG3_DECLARE_KERNEL_FOR(baseline, Job) \
  SG3_DECLARE_KERNEL_FOR(avx2, Job)     \
  SG3_DECLARE_KERNEL_FOR(avx512, Job)   \
  SG3_DISPATCH_KERNEL(Job)
#define SG3_CALL_FOR_ISA(function, ...)                \
  isa() == Isa::avx512 ? avx512::function(__VA_ARGS__) \
  : isa() == Isa::avx2 ? avx2::function(__VA_ARGS__)   \
                       : baseline::function(__VA_ARGS__)
#else
#define SG3_DECLARE_KERNEL(Job)         \
  SG3_DECLARE_KERNEL_FOR(baseline, Job) \
  SG3_DISPATCH_KERNEL(Job)
#define SG3_CALL_FOR_ISA(function, ...) baseline::function(__VA_ARGS__)
#endif
#define SG3_DISPATCH_KERNEL(Job)                                                                        \
  SG3_INLINE int64_t scratch_size(const Job& job) { return SG3_CALL_FOR_ISA(scratch_size, job); }       \
  SG3_INLINE void run_tiles(const Job& job, Sg3Type type, int64_t first, int64_t last, void* scratch) { \
    SG3_CALL_FOR_ISA(run_tiles, job, type, first, last, scratch);                                       \
  }

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CPU_ISA_H_
