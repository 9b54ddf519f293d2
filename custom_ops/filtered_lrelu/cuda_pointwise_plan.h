// Recognizes a filtered_lrelu without filters, and plans its launch. Plain C++.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_POINTWISE_PLAN_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_POINTWISE_PLAN_H_

#include "custom_ops/filtered_lrelu/cuda_pointwise.h"

namespace sg3::cuda {

inline bool is_identity(const Sg3Axis& axis) {
  return axis.up == 1 && axis.down == 1 && axis.taps == 1 && axis.before == 0 && axis.in_size == axis.out_size;
}

inline bool is_pointwise(const Sg3FilteredLrelu& p) {
  return is_identity(p.up.y) && is_identity(p.up.x) && is_identity(p.down.y) && is_identity(p.down.x) &&
         p.up.terms == 1 && p.down.terms == 1;
}

inline PointwisePlan pointwise_plan(const Sg3FilteredLrelu& p) {
  const int64_t pixels = p.up.y.in_size * p.up.x.in_size;
  const int64_t groups = (p.channels + SG3_MASK_CHANNELS - 1) / SG3_MASK_CHANNELS;
  return {p.batch * groups * pixels,
          pixels,
          p.channels,
          groups,
          float(p.up.taps_y[0] * p.up.taps_x[0]),
          float(p.down.taps_y[0] * p.down.taps_x[0]),
          float(p.slope),
          float(p.clamp)};
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_POINTWISE_PLAN_H_
