// The base of sources that compile as CUDA device code and, for tests on machines without a GPU, as plain C++: function
// qualifiers, conversions of the 16-bit types, 16-byte vectors, and division by numbers known at launch.
//
// NVRTC, which compiles device code (jit/compiler.h), has none of the standard headers. Outside `#ifndef __CUDACC__`,
// device code includes stdint.h and string.h at most: neither CUDA's headers for 16-bit types nor anything from std.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_PORTABLE_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_PORTABLE_H_

#include <stdint.h>

#ifdef __CUDACC__
#define SG3_HD __host__ __device__ __forceinline__
#define SG3_UNROLL _Pragma("unroll")
#define SG3_KEEP_LOOP _Pragma("unroll 1")
#else
#include <cmath>
#include <cstring>
#define SG3_HD inline
#define SG3_UNROLL
#define SG3_KEEP_LOOP
#endif

#include "custom_ops/resampling/float16.h"
#include "custom_ops/resampling/stage.h"

namespace sg3::cuda {

#ifdef __CUDACC__
using Float4 = float4;
#else
struct alignas(16) Float4 {
  float x, y, z, w;
};
#endif

SG3_HD float to_float(float value) { return value; }

SG3_HD float to_float(BFloat16 value) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(uint32_t(value.bits) << 16);
#else
  return to_float32(value);
#endif
}

SG3_HD float to_float(Half value) {
#ifdef __CUDA_ARCH__
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
#else
  return to_float32(value);
#endif
}

SG3_HD void from_float(float value, float* result) { *result = value; }

SG3_HD void from_float(float value, BFloat16* result) {
#if __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result->bits) : "f"(value));
#else
  round_float32(value, result);
#endif
}

SG3_HD void from_float(float value, Half* result) {
#ifdef __CUDA_ARCH__
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result->bits) : "f"(value));
#else
  round_float32(value, result);
#endif
}

// N elements that are read and written together.
template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
  T at[N];
};

// Moves N values to and from shared memory, 16 bytes at a time unless N is 1.
template <int N>
SG3_HD void put_values(const float* values, float* shared) {
  if constexpr (N == 1) {
    *shared = *values;
  } else {
    SG3_UNROLL for (int n = 0; n < N; n += 4) {
#ifdef __CUDA_ARCH__
      // nvcc 13.0 would split some of these stores into four.
      const uint32_t address = uint32_t(__cvta_generic_to_shared(shared + n));
      asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(values[n]), "f"(values[n + 1]),
                   "f"(values[n + 2]), "f"(values[n + 3])
                   : "memory");
#else
      *reinterpret_cast<Float4*>(shared + n) = Float4{values[n], values[n + 1], values[n + 2], values[n + 3]};
#endif
    }
  }
}

template <int N>
SG3_HD void get_values(const float* shared, float* values) {
  if constexpr (N == 1) {
    *values = *shared;
  } else {
    SG3_UNROLL for (int n = 0; n < N; n += 4) {
      const Float4 four = *reinterpret_cast<const Float4*>(shared + n);
      values[n] = four.x, values[n + 1] = four.y, values[n + 2] = four.z, values[n + 3] = four.w;
    }
  }
}

// Writes N elements to global memory together.
template <class T, int N>
SG3_HD void store_vector(const Vector<T, N>& elements, T* global) {
#ifdef __CUDA_ARCH__
  if constexpr (sizeof(elements) == 16) {
    // nvcc 13.0 would split some of these stores too.
    const uint32_t* words = reinterpret_cast<const uint32_t*>(&elements);
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(global)), "r"(words[0]),
                 "r"(words[1]), "r"(words[2]), "r"(words[3])
                 : "memory");
    return;
  }
#endif
  *reinterpret_cast<Vector<T, N>*>(global) = elements;
}

// Calls f with a value of the element type `type`.
template <class F>
SG3_HD void with_type(int type, F f) {
  if (type == SG3_FLOAT32) {
    f(float());
  } else if (type == SG3_FLOAT16) {
    f(Half());
  } else {
    f(BFloat16());
  }
}

// Divides n by d with one multiplication. Exact if n * d < 2^32.
struct Divisor {
  uint32_t divisor, inverse;

  static Divisor of(int d) { return {uint32_t(d), uint32_t(((uint64_t(1) << 32) + uint64_t(d) - 1) / uint64_t(d))}; }

  SG3_HD int quotient(int n) const {
    return divisor == 1 ? n : int(uint64_t(uint32_t(n)) * inverse >> 32);  // the inverse of 1 has 33 bits
  }
};

SG3_HD constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }  // a >= 0

SG3_HD constexpr int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

SG3_HD constexpr int64_t modulo(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_PORTABLE_H_
