// Upsample, filter and downsample every channel of images [batch, y.in_size, x.in_size, channels].

#ifndef SG3TF_CUSTOM_OPS_UPFIRDN2D_KERNEL_H_
#define SG3TF_CUSTOM_OPS_UPFIRDN2D_KERNEL_H_

#include "custom_ops/resampling/stage.h"

extern "C" {

struct Sg3Upfirdn2d {
  int64_t batch, channels;
  Sg3Stage stage;
};

// x [batch, y.in_size, x.in_size, channels] to y [batch, y.out_size, x.out_size, channels], both in device memory, of
// `type` (not SG3_FLOAT64); asynchronously on `stream`, a cudaStream_t. Returns a cudaError_t, 0 for success.
int sg3_cuda_upfirdn2d(const Sg3Upfirdn2d* problem, int type, const void* x, void* y, void* stream);

}  // extern "C"

#endif  // SG3TF_CUSTOM_OPS_UPFIRDN2D_KERNEL_H_
