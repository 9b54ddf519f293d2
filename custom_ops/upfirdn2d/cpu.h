// Upfirdn2d on the processor: tiles that any number of threads may share.

#ifndef SG3TF_CUSTOM_OPS_UPFIRDN2D_CPU_H_
#define SG3TF_CUSTOM_OPS_UPFIRDN2D_CPU_H_

#include "custom_ops/resampling/isa.h"
#include "custom_ops/resampling/polyphase.h"
#include "custom_ops/resampling/tiling.h"
#include "custom_ops/upfirdn2d/kernel.h"

namespace sg3 {

// Plain data for the kernels; see Sg3Upfirdn2d.
template <class Scalar>
struct Upfirdn2dJob {
  Tiling tiling;
  PolyphaseView<Scalar> y, x;
  const void* in;
  void* out;
};

class Upfirdn2dCpu {
 public:
  // Tiles for about `threads` threads; what `problem` points to need not outlive this call.
  Upfirdn2dCpu(const Sg3Upfirdn2d& problem, Sg3Type type, int threads);

  int64_t tiles() const { return tiling_.tiles(); }
  int64_t tile_cycles() const;  // an estimate

  // Computes tiles [first, last); from any thread, any tiles in any order, all of them once.
  void run(int64_t first, int64_t last, const void* x, void* y) const;

 private:
  Sg3Upfirdn2d problem_;
  Sg3Type type_;
  Polyphase y_, x_;
  Tiling tiling_;
};

// What kernel_cpu.cc says, once per instruction set.
#define SG3_DECLARE(isa)                                                                               \
  namespace isa {                                                                                      \
  int64_t scratch_size(const Upfirdn2dJob<float>& job); /* in scalars */                               \
  int64_t scratch_size(const Upfirdn2dJob<double>& job);                                               \
  void run(const Upfirdn2dJob<float>& job, Sg3Type type, int64_t first, int64_t last, void* scratch);  \
  void run(const Upfirdn2dJob<double>& job, Sg3Type type, int64_t first, int64_t last, void* scratch); \
  }
SG3_FOR_EACH_ISA(SG3_DECLARE)
#undef SG3_DECLARE

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_UPFIRDN2D_CPU_H_
