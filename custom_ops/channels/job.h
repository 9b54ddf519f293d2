// Plain data for the CPU kernels of the operations on channels.

#ifndef SG3TF_CUSTOM_OPS_CHANNELS_JOB_H_
#define SG3TF_CUSTOM_OPS_CHANNELS_JOB_H_

#include "custom_ops/resampling/cpu/isa.h"
#include "custom_ops/resampling/cpu/tiling.h"

namespace sg3 {

template <class Scalar>
struct ScaleChannelsJob {
  Tiling tiling;
  const void* x;
  const Scalar* factors;
  void* y;
};

template <class Scalar>
struct SumPixelsJob {
  Tiling tiling;  // a tile is a whole image
  const void *x, *y;
  Scalar* sums;
};

SG3_DECLARE_KERNEL(ScaleChannelsJob<float>)
SG3_DECLARE_KERNEL(ScaleChannelsJob<double>)
SG3_DECLARE_KERNEL(SumPixelsJob<float>)
SG3_DECLARE_KERNEL(SumPixelsJob<double>)

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_CHANNELS_JOB_H_
