// upfirdn2d as plain C structs: upsampling, filtering and downsampling of every channel of a batch of images.

#ifndef SG3TF_CUSTOM_OPS_UPFIRDN2D_PROBLEM_H_
#define SG3TF_CUSTOM_OPS_UPFIRDN2D_PROBLEM_H_

#include "custom_ops/resampling/stage.h"

extern "C" {

// Images [batch, y.in_size, x.in_size, channels] become [batch, y.out_size, x.out_size, channels].
struct Sg3Upfirdn2d {
  int64_t batch, channels;
  Sg3Stage stage;
};

// Computes y from x, both in device memory and of `type` (not SG3_FLOAT64), asynchronously on `stream`, a cudaStream_t.
// Returns a CUresult, 0 for success.
int sg3_cuda_upfirdn2d(const Sg3Upfirdn2d* problem, int type, const void* x, void* y, void* stream);

}  // extern "C"

namespace sg3 {

// Addresses in the memory of a device.
struct Upfirdn2dArrays {
  const void* x;
  void* y;
};

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_UPFIRDN2D_PROBLEM_H_
