// The attributes that describe a resampling in every operation, and the stage that they define for an image.
//
// TensorFlow's attributes hold floating-point numbers only as float32, and eager execution does not support tensors as
// attributes. Taps are therefore strings: the bytes of float64 numbers, [terms, taps] (docs/adr/0008).

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_TF_ATTRIBUTES_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_TF_ATTRIBUTES_H_

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "custom_ops/resampling/stage.h"
#include "tensorflow/core/framework/tensor_shape.h"
#include "tensorflow/core/platform/errors.h"

namespace sg3 {

// Decodes an attribute that holds the bytes of float64 numbers.
absl::Status decode(const std::string& name, const std::string& bytes, std::vector<double>* values);

// One resampling, constructed once per node. It owns the taps that stage() points to.
class StageAttributes {
 public:
  // Reads attributes from `context`, an OpKernelConstruction or InferenceContext: PREFIXterms, PREFIXtaps_y and
  // PREFIXtaps_x, and those named by `up`, `down` and `pad` unless the name is empty.
  template <class Context>
  absl::Status read(Context* context, const std::string& up, const std::string& down, const std::string& pad,
                    const std::string& prefix) {
    std::string y, x;
    if (!up.empty()) up_.clear();  // GetAttr appends
    if (!down.empty()) down_.clear();
    if (!pad.empty()) pad_.clear();
    if (!up.empty()) TF_RETURN_IF_ERROR(context->GetAttr(up, &up_));
    if (!down.empty()) TF_RETURN_IF_ERROR(context->GetAttr(down, &down_));
    if (!pad.empty()) TF_RETURN_IF_ERROR(context->GetAttr(pad, &pad_));
    TF_RETURN_IF_ERROR(context->GetAttr(prefix + "terms", &terms_));
    TF_RETURN_IF_ERROR(context->GetAttr(prefix + "taps_y", &y));
    TF_RETURN_IF_ERROR(context->GetAttr(prefix + "taps_x", &x));
    return check(up, down, pad, prefix, y, x);
  }

  // Returns the stage for inputs of this size; fails if the padded input is smaller than the filter.
  absl::Status stage(int64_t height, int64_t width, Sg3Stage* stage) const;

 private:
  absl::Status check(const std::string& up, const std::string& down, const std::string& pad, const std::string& prefix,
                     const std::string& y, const std::string& x);

  std::vector<int64_t> up_ = {1, 1}, down_ = {1, 1}, pad_ = {0, 0, 0, 0};  // (y, x); (top, bottom, left, right)
  int64_t terms_ = 1;
  std::vector<double> taps_y_, taps_x_;
};

// Fails unless the shape is [N, H, W, C].
absl::Status check_images(const std::string& argument, const tensorflow::TensorShape& shape);

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_TF_ATTRIBUTES_H_
