// Plain data for the CPU kernels of filtered leaky ReLU.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_JOB_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_JOB_H_

#include "custom_ops/resampling/cpu/isa.h"
#include "custom_ops/resampling/cpu/polyphase.h"
#include "custom_ops/resampling/cpu/tiling.h"

namespace sg3 {

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

SG3_DECLARE_KERNEL(FilteredLreluJob<float>)
SG3_DECLARE_KERNEL(FilteredLreluJob<double>)

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_JOB_H_
