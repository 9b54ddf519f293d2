// The channel operations as plain C structs: scaling each channel of each image by a factor, and summing each channel
// over an image.

#ifndef SG3TF_CUSTOM_OPS_CHANNELS_PROBLEM_H_
#define SG3TF_CUSTOM_OPS_CHANNELS_PROBLEM_H_

#include "custom_ops/resampling/stage.h"

namespace sg3 {

// Images [batch, height, width, channels].
struct ImageBatch {
  int64_t batch, height, width, channels;
};

// y = x * factors. x and y are images of the same type; factors [batch, channels] are float64 for float64 images, else
// float32.
struct ScaleChannelsArrays {
  const void *x, *factors;
  void* y;
};

// sums [batch, channels] of x * y over the pixels of each image, or of x if y is null. Sums have the same type as
// factors.
struct SumPixelsArrays {
  const void *x, *y;
  void* sums;
};

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_CHANNELS_PROBLEM_H_
