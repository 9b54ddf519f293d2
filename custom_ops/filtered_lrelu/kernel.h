// y = down(act(up(x + bias))), the nonlinearity of StyleGAN3, and the linear map that is its derivative.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_KERNEL_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_KERNEL_H_

#include "custom_ops/resampling/stage.h"

extern "C" {

// What happens to a sample z of the upsampled signal.
enum Sg3Mode {
  SG3_ACTIVATE = 0,           // leaky ReLU with `slope` on negative z, then clamped to [-clamp, clamp]
  SG3_ACTIVATE_AND_MASK = 1,  // the same, and the mask is written
  SG3_APPLY_MASK = 2,         // z times the derivative that the mask tells: 0 where clamped, else slope or 1; no bias
};

// up: factors `down` of both axes are 1. down: factors `up` are 1, and its in_sizes are up's out_sizes.
struct Sg3FilteredLrelu {
  int64_t batch, channels;
  Sg3Stage up, down;
  double slope, clamp;  // clamp may be infinite
  int mode;
};

// The mask has two bits per upsampled sample: uint32 [batch, ceil(channels / 16), up.y.out_size, up.x.out_size], where
// bit c % 16 tells whether channel c was negative, and bit 16 + c % 16 whether it was clamped.
enum { SG3_MASK_CHANNELS = 16 };

// x [batch, up.y.in_size, up.x.in_size, channels], bias [channels] (ignored by SG3_APPLY_MASK), y [batch,
// down.y.out_size, down.x.out_size, channels], mask (may be null for SG3_ACTIVATE): all in device memory; x, bias and y
// of `type` (not SG3_FLOAT64); asynchronously on `stream`, a cudaStream_t. Returns a cudaError_t, 0 for success.
int sg3_cuda_filtered_lrelu(const Sg3FilteredLrelu* problem, int type, const void* x, const void* bias, void* y,
                            void* mask, void* stream);

}  // extern "C"

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_KERNEL_H_
