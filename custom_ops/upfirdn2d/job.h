// Plain data for the CPU kernels of upfirdn2d.

#ifndef SG3TF_CUSTOM_OPS_UPFIRDN2D_JOB_H_
#define SG3TF_CUSTOM_OPS_UPFIRDN2D_JOB_H_

#include "custom_ops/resampling/cpu/isa.h"
#include "custom_ops/resampling/cpu/polyphase.h"
#include "custom_ops/resampling/cpu/tiling.h"

namespace sg3 {

template <class Scalar>
struct Upfirdn2dJob {
  Tiling tiling;
  PolyphaseView<Scalar> y, x;
  const void* in;
  void* out;
};

SG3_DECLARE_KERNEL(Upfirdn2dJob<float>)
SG3_DECLARE_KERNEL(Upfirdn2dJob<double>)

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_UPFIRDN2D_JOB_H_
