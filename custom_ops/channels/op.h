// Checks shared by the kernels of Sg3>ScaleChannels and Sg3>SumPixels.

#ifndef SG3TF_CUSTOM_OPS_CHANNELS_OP_H_
#define SG3TF_CUSTOM_OPS_CHANNELS_OP_H_

#include "absl/strings/str_cat.h"
#include "custom_ops/resampling/tf/attributes.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/framework/types.h"

namespace sg3 {

inline absl::Status check_scale(const tensorflow::TensorShape& x, const tensorflow::TensorShape& factors) {
  TF_RETURN_IF_ERROR(check_images("x", x));
  if (factors == tensorflow::TensorShape({x.dim_size(0), x.dim_size(3)})) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("factors of shape ", factors.DebugString(), ": give [", x.dim_size(0),
                                                 ", ", x.dim_size(3), "], one per image and channel of x"));
}

// `first` and `last` are the same for a single operand.
inline absl::Status check_sums(int count, const tensorflow::TensorShape& first, const tensorflow::TensorShape& last) {
  TF_RETURN_IF_ERROR(check_images("images", first));
  if (count > 2) return absl::InvalidArgumentError(absl::StrCat(count, " images: give one or two"));
  if (first == last) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("images of shapes ", first.DebugString(), " and ", last.DebugString(), ": give two of one shape"));
}

// Returns the type of factors and sums.
inline tensorflow::DataType wide_type(tensorflow::DataType images) {
  return images == tensorflow::DT_DOUBLE ? tensorflow::DT_DOUBLE : tensorflow::DT_FLOAT;
}

inline absl::Status check_wide_type(const std::string& name, tensorflow::DataType type, tensorflow::DataType images) {
  if (type == wide_type(images)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, "=", tensorflow::DataTypeString(type),
                                                 " with T=", tensorflow::DataTypeString(images), ": use ",
                                                 tensorflow::DataTypeString(wide_type(images))));
}

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_CHANNELS_OP_H_
