// Operations on channels as plain C structs: scaling them by a factor per image, and adding them up over an image.

#ifndef SG3TF_CUSTOM_OPS_CHANNELS_PROBLEM_H_
#define SG3TF_CUSTOM_OPS_CHANNELS_PROBLEM_H_

#include "custom_ops/resampling/stage.h"

namespace sg3 {

// Images [batch, height, width, channels].
struct ImageBatch {
  int64_t batch, height, width, channels;
};

// y = x * factors. x and y are images of one type; factors [batch, channels] are float64 for images of float64, else
// float32.
struct ScaleChannelsArrays {
  const void *x, *factors;
  void* y;
};

// sums [batch, channels] of x * y over the pixels of each image, or of x where y is null; of the type that factors
// have.
struct SumPixelsArrays {
  const void *x, *y;
  void* sums;
};

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_CHANNELS_PROBLEM_H_
