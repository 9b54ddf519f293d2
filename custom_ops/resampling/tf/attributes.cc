#include "custom_ops/resampling/tf/attributes.h"

#include <string.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace sg3 {
namespace {

absl::Status check_factors(const std::string& name, const std::vector<int64_t>& factors) {
  if (factors.size() == 2 && factors[0] > 0 && factors[1] > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, "=[", absl::StrJoin(factors, ", "), "]: give two positive integers, (y, x)"));
}

absl::Status decode_taps(const std::string& name, const std::string& bytes, int64_t terms, std::vector<double>* taps) {
  TF_RETURN_IF_ERROR(decode(name, bytes, taps));
  if (!taps->empty() && taps->size() % terms == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " has ", taps->size(), " numbers: give as many for each of the ",
                                                 terms, " terms, at least one"));
}

Sg3Axis make_axis(int64_t up, int64_t down, int64_t before, int64_t after, int64_t taps, int64_t in_size) {
  int64_t span = in_size * up + before + after - taps;
  return {up, down, before, taps, in_size, span < 0 ? 0 : span / down + 1};
}

}  // namespace

absl::Status decode(const std::string& name, const std::string& bytes, std::vector<double>* values) {
  if (bytes.size() % sizeof(double) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " has ", bytes.size(), " bytes: give the bytes of float64 numbers, eight each"));
  }
  values->resize(bytes.size() / sizeof(double));
  memcpy(values->data(), bytes.data(), bytes.size());
  return absl::OkStatus();
}

absl::Status StageAttributes::check(const std::string& up, const std::string& down, const std::string& pad,
                                    const std::string& prefix, const std::string& y, const std::string& x) {
  TF_RETURN_IF_ERROR(check_factors(up, up_));
  TF_RETURN_IF_ERROR(check_factors(down, down_));
  if (pad_.size() != 4) {
    return absl::InvalidArgumentError(
        absl::StrCat(pad, "=[", absl::StrJoin(pad_, ", "), "]: give four integers, (top, bottom, left, right)"));
  }
  if (terms_ < 1)
    return absl::InvalidArgumentError(absl::StrCat(prefix, "terms=", terms_, ": give a positive integer"));
  TF_RETURN_IF_ERROR(decode_taps(prefix + "taps_y", y, terms_, &taps_y_));
  return decode_taps(prefix + "taps_x", x, terms_, &taps_x_);
}

absl::Status StageAttributes::stage(int64_t height, int64_t width, Sg3Stage* stage) const {
  int64_t taps_y = taps_y_.size() / terms_, taps_x = taps_x_.size() / terms_;
  stage->y = make_axis(up_[0], down_[0], pad_[0], pad_[1], taps_y, height);
  stage->x = make_axis(up_[1], down_[1], pad_[2], pad_[3], taps_x, width);
  stage->terms = terms_;
  stage->taps_y = taps_y_.data();
  stage->taps_x = taps_x_.data();
  if (stage->y.out_size > 0 && stage->x.out_size > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("an image of height ", height, " and width ", width, ", upsampled by ",
                                                 up_[0], " and ", up_[1], " and padded by (", absl::StrJoin(pad_, ", "),
                                                 "), is smaller than its filter, ", taps_y, " by ", taps_x,
                                                 ": pad more, or use a shorter filter"));
}

absl::Status check_images(const std::string& argument, const tensorflow::TensorShape& shape) {
  if (shape.dims() == 4) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(argument, " of shape ", shape.DebugString(), ": give [N, H, W, C]"));
}

}  // namespace sg3
