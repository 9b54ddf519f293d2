#include "custom_ops/resampling/cpu/polyphase.h"

namespace sg3 {

Polyphase::Polyphase(const Sg3Axis& axis, int64_t terms, const double* taps)
    : axis_(axis), terms_(terms), max_taps_((axis.taps + axis.up - 1) / axis.up) {
  doubles_.assign(axis.up * terms * max_taps_, 0.0);
  for (int64_t phase = 0; phase < axis.up; ++phase) {
    counts_.push_back(phase < axis.taps ? (axis.taps - phase + axis.up - 1) / axis.up : 0);
    for (int64_t term = 0; term < terms; ++term) {
      for (int64_t i = 0; i < counts_.back(); ++i) {
        doubles_[(phase * terms + term) * max_taps_ + i] = taps[term * axis.taps + phase + i * axis.up];
      }
    }
  }
  floats_.assign(doubles_.begin(), doubles_.end());
}

template <>
PolyphaseView<float> Polyphase::view() const {
  return {axis_.up, axis_.down, axis_.before,   axis_.in_size, axis_.out_size,
          terms_,   max_taps_,  counts_.data(), floats_.data()};
}

template <>
PolyphaseView<double> Polyphase::view() const {
  return {axis_.up, axis_.down, axis_.before,   axis_.in_size,  axis_.out_size,
          terms_,   max_taps_,  counts_.data(), doubles_.data()};
}

}  // namespace sg3
