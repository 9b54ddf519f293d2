// float16 and bfloat16 numbers, and their conversion to and from float32 on the host.
//
// The CPU kernels include this once per instruction set, so everything is always inlined and no standard C++ header is
// used (see cpu/simd.h).

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_FLOAT16_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_FLOAT16_H_

#include <stdint.h>
#include <string.h>

#include "custom_ops/resampling/stage.h"

namespace sg3 {

struct Half {
  uint16_t bits;
};

struct BFloat16 {
  uint16_t bits;
};

SG3_INLINE float bits_to_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

SG3_INLINE uint32_t float_to_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

SG3_INLINE float to_float32(BFloat16 x) { return bits_to_float(uint32_t{x.bits} << 16); }

// No float32 is denormal here: TensorFlow's threads flush those to zero.
SG3_INLINE float to_float32(Half x) {
  uint32_t sign = uint32_t(x.bits & 0x8000) << 16, exponent = x.bits >> 10 & 31, fraction = x.bits & 0x3ff;
  if (exponent == 31) return bits_to_float(sign | 0x7f800000 | fraction << 13);
  if (exponent != 0) return bits_to_float(sign | (exponent + 112) << 23 | fraction << 13);
  return bits_to_float(sign | float_to_bits(float(fraction) * 0x1p-24f));
}

// Both round to nearest, ties to even.
SG3_INLINE void round_float32(float x, BFloat16* to) {
  uint32_t bits = float_to_bits(x);
  bool nan = (bits & 0x7fffffff) > 0x7f800000;
  to->bits = nan ? uint16_t(bits >> 16 | 0x40) : uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

SG3_INLINE void round_float32(float x, Half* to) {
  uint32_t bits = float_to_bits(x);
  uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) {
    to->bits = uint16_t(sign | 0x7e00);
  } else if (magnitude >= 0x477ff000) {  // 65520 and above round to infinity
    to->bits = uint16_t(sign | 0x7c00);
  } else if (magnitude >= 0x38800000) {
    uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    to->bits = uint16_t(sign | (rounded - 0x38000000) >> 13);
  } else {  // denormal
    uint32_t exponent = magnitude >> 23, shift = 126 - exponent;
    uint32_t fraction = (magnitude & 0x7fffff) | 0x800000;
    uint32_t kept = shift < 32 ? fraction >> shift : 0, lost = shift < 32 ? fraction - (kept << shift) : fraction;
    uint32_t half = shift < 32 ? 1u << (shift - 1) : ~0u;
    to->bits = uint16_t(sign | (kept + (lost > half || (lost == half && (kept & 1)))));
  }
}

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_FLOAT16_H_
