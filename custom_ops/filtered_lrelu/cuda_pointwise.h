// filtered_lrelu without filters, as in ToRGB: the work of one thread, which is one mask word.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_POINTWISE_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_POINTWISE_H_

#include "custom_ops/filtered_lrelu/problem.h"
#include "custom_ops/resampling/cuda/portable.h"

namespace sg3::cuda {

constexpr int kPointwiseThreads = 256;

struct PointwisePlan {
  int64_t words, pixels, channels, groups;  // mask words; pixels of an image; channels, and words of a pixel
  float gain_before, gain_after;            // the only taps of the two filters
  float slope, clamp;
};

// Computes word [image, group, pixel] of the mask, and its up to 16 channels.
template <class T, int MODE>
SG3_HD void run_pointwise(const PointwisePlan& p, const T* x, const T* bias, T* y, uint32_t* mask, int64_t word) {
  const int64_t plane = word / p.pixels, pixel = word - plane * p.pixels;
  const int64_t image = plane / p.groups, first = (plane - image * p.groups) * SG3_MASK_CHANNELS;
  const int64_t at = (image * p.pixels + pixel) * p.channels + first;
  uint32_t bits = MODE == SG3_APPLY_MASK ? mask[word] : 0;
  for (int c = 0; c < SG3_MASK_CHANNELS && first + c < p.channels; ++c) {
    float value = to_float(x[at + c]);
    if constexpr (MODE == SG3_APPLY_MASK) {
      value *= p.gain_before;
      if (bits >> c & 1) value *= p.slope;
      if (bits >> c & 0x10000) value = 0;
    } else {
      value = (value + to_float(bias[first + c])) * p.gain_before;
      if (value < 0) {
        bits |= 1u << c;
        value *= p.slope;
      }
      if (!(fabsf(value) < p.clamp)) bits |= 0x10000u << c;
      value = value > p.clamp ? p.clamp : value < -p.clamp ? -p.clamp : value;  // NaNs pass
    }
    from_float(value * p.gain_after, &y[at + c]);
  }
  if constexpr (MODE == SG3_ACTIVATE_AND_MASK) mask[word] = bits;
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_POINTWISE_H_
