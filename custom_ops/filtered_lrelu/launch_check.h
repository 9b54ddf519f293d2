// What the launchers of filtered_lrelu require of a problem.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_LAUNCH_CHECK_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_LAUNCH_CHECK_H_

#include "custom_ops/filtered_lrelu/problem.h"
#include "custom_ops/resampling/cuda/plan.h"

namespace sg3::cuda {

inline bool is_valid(const Sg3FilteredLrelu& p, int type, const void* mask) {
  const bool has_mode = p.mode == SG3_ACTIVATE || p.mode == SG3_ACTIVATE_AND_MASK || p.mode == SG3_APPLY_MASK;
  const bool has_mask = p.mode == SG3_ACTIVATE || mask;
  const bool has_factors = p.up.y.down == 1 && p.up.x.down == 1 && p.down.y.up == 1 && p.down.x.up == 1;
  const bool fits = p.down.y.in_size == p.up.y.out_size && p.down.x.in_size == p.up.x.out_size;
  return has_mode && has_mask && has_factors && fits && is_supported(type) && is_representable(p.up) &&
         is_representable(p.down);
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_LAUNCH_CHECK_H_
