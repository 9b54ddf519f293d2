// One resampling as plain C structs, without TensorFlow: for the CPU kernels, the CUDA launchers and, through ctypes,
// gpu/check.py.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_STAGE_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_STAGE_H_

#include <stdint.h>

#ifdef __CUDACC__
#define SG3_INLINE __host__ __device__ __forceinline__
#else
#define SG3_INLINE inline __attribute__((always_inline))
#endif

extern "C" {

// Along one axis: output o is the sum of taps[k] * x[(o * down + k - before) / up] over the k for which the quotient is
// an integer in [0, in_size). Taps correlate; the sizes and `before` imply the padding.
struct Sg3Axis {
  int64_t up, down;
  int64_t before;  // samples of padding in front of the upsampled signal; negative numbers crop
  int64_t taps;
  int64_t in_size, out_size;
};

// Both axes. The filter is the sum over r < terms of the outer products taps_y[r, :] taps_x[r, :].
struct Sg3Stage {
  Sg3Axis y, x;
  int64_t terms;
  const double* taps_y;  // [terms, y.taps]
  const double* taps_x;  // [terms, x.taps]
};

// Element types of images. Arithmetic on the 16-bit types is in float32.
enum Sg3Type { SG3_FLOAT32 = 0, SG3_FLOAT64 = 1, SG3_FLOAT16 = 2, SG3_BFLOAT16 = 3 };

}  // extern "C"

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_STAGE_H_
