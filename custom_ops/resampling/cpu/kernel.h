// The definition of an operation's kernels for one instruction set, SG3_ISA. No standard headers: see simd.h.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CPU_KERNEL_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CPU_KERNEL_H_

#include "custom_ops/resampling/cpu/rows.h"

// Defines what SG3_DECLARE_KERNEL declares for Job<float> and Job<double>. TileKernel<T>, for elements of type T, has
// static functions scratch_size(job), in scalars, and run(job, tile, scratch). Use it in namespace sg3::SG3_ISA.
#define SG3_DEFINE_KERNEL(Job, TileKernel)                                                                        \
  namespace {                                                                                                     \
  template <class T>                                                                                              \
  void run_tiles_of(const Job<typename Arithmetic<T>::Scalar>& job, int64_t first, int64_t last, void* scratch) { \
    for (int64_t i = first; i < last; ++i) TileKernel<T>::run(job, job.tiling.tile(i), scratch);                  \
  }                                                                                                               \
  }                                                                                                               \
  int64_t scratch_size(const Job<float>& job) { return TileKernel<float>::scratch_size(job); }                    \
  int64_t scratch_size(const Job<double>& job) { return TileKernel<double>::scratch_size(job); }                  \
  void run_tiles(const Job<float>& job, Sg3Type type, int64_t first, int64_t last, void* scratch) {               \
    if (type == SG3_FLOAT32) run_tiles_of<float>(job, first, last, scratch);                                      \
    if (type == SG3_FLOAT16) run_tiles_of<Half>(job, first, last, scratch);                                       \
    if (type == SG3_BFLOAT16) run_tiles_of<BFloat16>(job, first, last, scratch);                                  \
  }                                                                                                               \
  void run_tiles(const Job<double>& job, Sg3Type, int64_t first, int64_t last, void* scratch) {                   \
    run_tiles_of<double>(job, first, last, scratch);                                                              \
  }

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CPU_KERNEL_H_
