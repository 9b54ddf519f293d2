// Filtered leaky ReLU, y = down(act(up(x + bias))), and the linear map that is its derivative, as plain C structs.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_PROBLEM_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_PROBLEM_H_

#include "custom_ops/resampling/stage.h"

extern "C" {

// The operation on a sample z of the upsampled signal.
enum Sg3Mode {
  SG3_ACTIVATE = 0,           // leaky ReLU with `slope` on negative z, then clamped to [-clamp, clamp]
  SG3_ACTIVATE_AND_MASK = 1,  // the same, and the mask is written
  SG3_APPLY_MASK = 2,         // z times the derivative according to the mask: 0 where clamped, else slope or 1; no bias
};

// The factors `down` of `up` and the factors `up` of `down` are 1; the in_sizes of `down` are the out_sizes of `up`.
struct Sg3FilteredLrelu {
  int64_t batch, channels;
  Sg3Stage up, down;
  double slope, clamp;  // clamp may be infinite
  int mode;
  int unused;  // 0: without it, equal problems could differ in bytes of padding (custom_ops/xla/pack.h)
};

// The mask has two bits per upsampled sample: uint32 [batch, ceil(channels / 16), up.y.out_size, up.x.out_size]. Bit
// c % 16 is set if channel c was negative, bit 16 + c % 16 if it was clamped. NaN counts as clamped, except on tensor
// cores, where it would take another instruction.
enum { SG3_MASK_CHANNELS = 16 };

// Computes y [batch, down.y.out_size, down.x.out_size, channels] from x [batch, up.y.in_size, up.x.in_size, channels]
// and bias [channels] (ignored by SG3_APPLY_MASK); mask may be null for SG3_ACTIVATE. All are in device memory; x, bias
// and y are of `type` (not SG3_FLOAT64). Asynchronous on `stream`, a cudaStream_t. Returns a CUresult, 0 for success.
int sg3_cuda_filtered_lrelu(const Sg3FilteredLrelu* problem, int type, const void* x, const void* bias, void* y,
                            void* mask, void* stream);

// The same on tensor cores. Returns kNotSupported (801) for problems that they do not support, such as float32.
int sg3_cuda_filtered_lrelu_mma(const Sg3FilteredLrelu* problem, int type, const void* x, const void* bias, void* y,
                                void* mask, void* stream);

// The faster of the two. The first call for a type, a kind of filters, a mode and an alignment waits for the stream.
int sg3_cuda_filtered_lrelu_fastest(const Sg3FilteredLrelu* problem, int type, const void* x, const void* bias, void* y,
                                    void* mask, void* stream);

}  // extern "C"

namespace sg3 {

// Addresses in the memory of a device.
struct FilteredLreluArrays {
  const void *x, *bias;  // no bias with SG3_APPLY_MASK
  void *y, *mask;        // no mask with SG3_ACTIVATE
};

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_PROBLEM_H_
