// The attributes of both operations, and the problem that they define for a batch of images.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_ATTRIBUTES_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_ATTRIBUTES_H_

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "custom_ops/filtered_lrelu/problem.h"
#include "custom_ops/resampling/tf/attributes.h"

namespace sg3 {

class FilteredLreluAttributes {
 public:
  // `masked` is for Sg3>FilteredLreluMasked, whose second stage has its own padding.
  template <class Context>
  absl::Status read(Context* context, bool masked) {
    TF_RETURN_IF_ERROR(up_.read(context, "up", "", "up_pad", "up_"));
    TF_RETURN_IF_ERROR(down_.read(context, "", "down", masked ? "down_pad" : "", "down_"));
    std::string activation;
    TF_RETURN_IF_ERROR(context->GetAttr("activation", &activation));
    TF_RETURN_IF_ERROR(decode("activation", activation, &activation_));
    if (activation_.size() == 2 && activation_[0] >= 0 && activation_[0] <= 1 && activation_[1] > 0) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(absl::StrCat("activation=[", absl::StrJoin(activation_, ", "),
                                                   "]: give a slope from 0 to 1 and a positive clamp"));
  }

  // Returns the problem for images [batch, height, width, channels]; it points into this object.
  absl::Status problem(int64_t batch, int64_t height, int64_t width, int64_t channels, int mode,
                       Sg3FilteredLrelu* problem) const {
    *problem = {batch, channels, {}, {}, activation_[0], activation_[1], mode};
    TF_RETURN_IF_ERROR(up_.stage(height, width, &problem->up));
    return down_.stage(problem->up.y.out_size, problem->up.x.out_size, &problem->down);
  }

 private:
  StageAttributes up_, down_;
  std::vector<double> activation_;  // slope, clamp
};

inline tensorflow::TensorShape output_shape(const Sg3FilteredLrelu& problem) {
  return {problem.batch, problem.down.y.out_size, problem.down.x.out_size, problem.channels};
}

// One word per sixteen channels.
inline tensorflow::TensorShape mask_shape(const Sg3FilteredLrelu& problem) {
  int64_t blocks = (problem.channels + SG3_MASK_CHANNELS - 1) / SG3_MASK_CHANNELS;
  return {problem.batch, blocks, problem.up.y.out_size, problem.up.x.out_size};
}

inline absl::Status check_inputs(const tensorflow::TensorShape& x, const tensorflow::TensorShape& bias) {
  TF_RETURN_IF_ERROR(check_images("x", x));
  if (bias.dims() == 1 && bias.dim_size(0) == x.dim_size(3)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("bias of shape ", bias.DebugString(), ": give [", x.dim_size(3), "], one number per channel of x"));
}

inline absl::Status check_mask(const Sg3FilteredLrelu& problem, const tensorflow::TensorShape& mask) {
  if (mask == mask_shape(problem)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "mask of shape ", mask.DebugString(), ": give that of the forward pass, ", mask_shape(problem).DebugString()));
}

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_ATTRIBUTES_H_
