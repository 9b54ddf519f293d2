// A 3x3 convolution as plain C structs.

#ifndef SG3TF_CUSTOM_OPS_CONV3X3_PROBLEM_H_
#define SG3TF_CUSTOM_OPS_CONV3X3_PROBLEM_H_

#include "custom_ops/resampling/stage.h"

namespace sg3 {

// Images [batch, height, width, in_channels] become [batch, height + 2 * pad - 2, width + 2 * pad - 2, out_channels],
// correlated with kernels [3, 3, in_channels, out_channels]. All are float32.
struct Conv3x3 {
  int64_t batch, height, width, in_channels, out_channels;
  int64_t pad;  // zeros around the images, 0 to 2

  SG3_INLINE int64_t out_height() const { return height + 2 * pad - 2; }
  SG3_INLINE int64_t out_width() const { return width + 2 * pad - 2; }
};

// Factors for the channels of each image: [batch, in_channels] for x and [batch, out_channels] for the result; null for
// none.
struct Conv3x3Scales {
  const float *in, *out;
};

struct Conv3x3Arrays {
  const float* x;
  Conv3x3Scales scales;
  float* y;
};

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_CONV3X3_PROBLEM_H_
