// Attributes and checks of Sg3>Conv3x3 on any device.

#ifndef SG3TF_CUSTOM_OPS_CONV3X3_OP_H_
#define SG3TF_CUSTOM_OPS_CONV3X3_OP_H_

#include "absl/strings/str_cat.h"
#include "custom_ops/conv3x3/problem.h"
#include "custom_ops/resampling/tf/attributes.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace sg3 {

inline absl::Status check_pad(int64_t pad) {
  if (0 <= pad && pad <= 2) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("pad=", pad, ": give 0, 1 or 2"));
}

// Checks the shapes and sets the problem.
inline absl::Status conv3x3_of(const tensorflow::TensorShape& x, const tensorflow::TensorShape& kernel, int64_t pad,
                               Conv3x3* conv) {
  TF_RETURN_IF_ERROR(check_images("x", x));
  if (kernel.dims() != 4 || kernel.dim_size(0) != 3 || kernel.dim_size(1) != 3 || kernel.dim_size(2) != x.dim_size(3)) {
    return absl::InvalidArgumentError(
        absl::StrCat("kernel of shape ", kernel.DebugString(), ": give [3, 3, ", x.dim_size(3), ", filters]"));
  }
  *conv = {x.dim_size(0), x.dim_size(1), x.dim_size(2), x.dim_size(3), kernel.dim_size(3), pad};
  if (conv->out_height() > 0 && conv->out_width() > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("x of shape ", x.DebugString(), " with pad=", pad, ": smaller than the kernel"));
}

// Scales are [N, channels], or empty for none.
inline absl::Status check_scale(const std::string& name, const tensorflow::TensorShape& scale, int64_t batch,
                                int64_t channels) {
  if (scale.num_elements() == 0 || scale == tensorflow::TensorShape({batch, channels})) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " of shape ", scale.DebugString(), ": give [", batch, ", ", channels, "], or none"));
}

inline absl::Status check_scales(const Conv3x3& conv, const tensorflow::TensorShape& in,
                                 const tensorflow::TensorShape& out) {
  TF_RETURN_IF_ERROR(check_scale("in_scale", in, conv.batch, conv.in_channels));
  return check_scale("out_scale", out, conv.batch, conv.out_channels);
}

inline tensorflow::TensorShape output_shape(const Conv3x3& conv) {
  return {conv.batch, conv.out_height(), conv.out_width(), conv.out_channels};
}

// Like conv3x3_of, for the gradient with respect to the kernel: takes dy in place of the kernel.
inline absl::Status conv3x3_gradient_of(const tensorflow::TensorShape& x, const tensorflow::TensorShape& dy,
                                        int64_t pad, Conv3x3* conv) {
  TF_RETURN_IF_ERROR(check_images("dy", dy));
  TF_RETURN_IF_ERROR(conv3x3_of(x, {3, 3, x.dims() == 4 ? x.dim_size(3) : 0, dy.dim_size(3)}, pad, conv));
  if (dy == output_shape(*conv)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("dy of shape ", dy.DebugString(), ": give that of the convolution, ",
                                                 output_shape(*conv).DebugString()));
}

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_CONV3X3_OP_H_
