// Filtered leaky ReLU on the processor: tiles that any number of threads may share.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CPU_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CPU_H_

#include "custom_ops/filtered_lrelu/kernel.h"
#include "custom_ops/resampling/isa.h"
#include "custom_ops/resampling/polyphase.h"
#include "custom_ops/resampling/tiling.h"

namespace sg3 {

// Plain data for the kernels; see Sg3FilteredLrelu.
template <class Scalar>
struct FilteredLreluJob {
  Tiling tiling;
  PolyphaseView<Scalar> up_y, up_x, down_y, down_x;
  Scalar slope, clamp;
  int mode;
  const void *x, *bias;
  void* y;
  uint32_t* mask;
};

class FilteredLreluCpu {
 public:
  // Tiles for about `threads` threads; what `problem` points to need not outlive this call.
  FilteredLreluCpu(const Sg3FilteredLrelu& problem, Sg3Type type, int threads);

  int64_t tiles() const { return tiling_.tiles(); }
  int64_t tile_cycles() const;  // an estimate

  // Computes tiles [first, last); from any thread, any tiles in any order, all of them once.
  void run(int64_t first, int64_t last, const void* x, const void* bias, void* y, void* mask) const;

 private:
  Sg3FilteredLrelu problem_;
  Sg3Type type_;
  Polyphase up_y_, up_x_, down_y_, down_x_;
  Tiling tiling_;
};

// What kernel_cpu.cc says, once per instruction set.
#define SG3_DECLARE(isa)                                                                                   \
  namespace isa {                                                                                          \
  int64_t scratch_size(const FilteredLreluJob<float>& job); /* in scalars */                               \
  int64_t scratch_size(const FilteredLreluJob<double>& job);                                               \
  void run(const FilteredLreluJob<float>& job, Sg3Type type, int64_t first, int64_t last, void* scratch);  \
  void run(const FilteredLreluJob<double>& job, Sg3Type type, int64_t first, int64_t last, void* scratch); \
  }
SG3_FOR_EACH_ISA(SG3_DECLARE)
#undef SG3_DECLARE

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CPU_H_
