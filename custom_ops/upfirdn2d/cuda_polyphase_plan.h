// Computes the polyphase form of an axis before a launch. Plain C++.

#ifndef SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_POLYPHASE_PLAN_H_
#define SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_POLYPHASE_PLAN_H_

#include "custom_ops/resampling/cuda/plan.h"
#include "custom_ops/upfirdn2d/cuda_polyphase.h"

namespace sg3::cuda {

inline PolyphaseAxis polyphase_axis(const Sg3Axis& a) {
  PolyphaseAxis p = {};
  p.in_size = int(a.in_size);
  p.out_size = int(a.out_size);
  p.first = int(-floor_div(a.before, a.up));  // rounded up
  const int64_t last = floor_div((a.up - 1) * a.down + a.taps - 1 - a.before, a.up);
  p.reach = std::max(int(last) - p.first + 1, 1);
  p.groups = int((a.out_size + a.up - 1) / a.up);
  return p;
}

// Writes taps [up, reach], where `reach` may be larger than that of the axis.
inline void polyphase_taps(const Sg3Axis& a, const double* taps, int reach, float* to) {
  const int first = polyphase_axis(a).first;
  for (int p = 0; p < a.up; ++p) {
    for (int j = 0; j < reach; ++j) {
      const int64_t k = a.up * (first + j) + a.before - p * a.down;
      to[p * reach + j] = k >= 0 && k < a.taps ? float(taps[k]) : 0.f;
    }
  }
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_POLYPHASE_PLAN_H_
