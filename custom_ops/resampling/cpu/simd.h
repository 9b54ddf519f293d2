// Vectors of sixteen channels, the unit of all arithmetic of the CPU kernels.
//
// Included by sources that are compiled once per instruction set, into the namespace SG3_ISA. So everything here is
// local to that source, and no standard C++ header is used: the linker keeps one copy of a function template of theirs,
// which could be the one compiled for AVX-512.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CPU_SIMD_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CPU_SIMD_H_

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "custom_ops/resampling/cpu/tiling.h"
#include "custom_ops/resampling/float16.h"

namespace sg3::SG3_ISA {
namespace {

constexpr int64_t kLanes = kBlock;

typedef float FloatLanes __attribute__((vector_size(64)));
typedef double DoubleLanes __attribute__((vector_size(128)));
typedef int32_t Int32Lanes __attribute__((vector_size(64)));
typedef int64_t Int64Lanes __attribute__((vector_size(128)));

// The types of the arithmetic, for each type of element.
template <class T>
struct Arithmetic {
  using Scalar = float;
  using Lanes = FloatLanes;
  using Ints = Int32Lanes;
};
template <>
struct Arithmetic<double> {
  using Scalar = double;
  using Lanes = DoubleLanes;
  using Ints = Int64Lanes;
};

// Columns that one pass of a filter sums side by side: enough to hide the latency, and few enough for the registers.
#if defined(__AVX512F__)
constexpr int kFloatColumns = 8;
#elif defined(__AVX2__)
constexpr int kFloatColumns = 4;
#else
constexpr int kFloatColumns = 2;
#endif
template <class Lanes>
constexpr int kColumns = sizeof(Lanes) == 64 ? kFloatColumns : kFloatColumns / 2;

template <class Lanes, class Scalar>
SG3_INLINE Lanes broadcast(Scalar value) {
  return value - Lanes{};
}

template <class Lanes, class Scalar>
SG3_INLINE Lanes load(const Scalar* from) {
  Lanes lanes;
  memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

template <class Lanes, class Scalar>
SG3_INLINE void store(Scalar* to, Lanes lanes) {
  memcpy(to, &lanes, sizeof lanes);
}

// --- Conversions of elements
// -------------------------------------------------------------------------------------------

SG3_INLINE float to_scalar(float x) { return x; }
SG3_INLINE double to_scalar(double x) { return x; }

SG3_INLINE float to_scalar(BFloat16 x) { return to_float32(x); }
SG3_INLINE float to_scalar(Half x) { return to_float32(x); }

SG3_INLINE void from_scalar(float x, float* to) { *to = x; }
SG3_INLINE void from_scalar(double x, double* to) { *to = x; }
SG3_INLINE void from_scalar(float x, BFloat16* to) { round_float32(x, to); }
SG3_INLINE void from_scalar(float x, Half* to) { round_float32(x, to); }

// The first `count` of sixteen channels; the others read as zero.
template <class T>
SG3_INLINE typename Arithmetic<T>::Lanes load_channels(const T* from, int64_t count) {
  typename Arithmetic<T>::Scalar lanes[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = to_scalar(from[i]);
  return load<typename Arithmetic<T>::Lanes>(lanes);
}

template <class T>
SG3_INLINE void store_channels(T* to, typename Arithmetic<T>::Lanes lanes, int64_t count) {
  typename Arithmetic<T>::Scalar values[kLanes];
  store(values, lanes);
  for (int64_t i = 0; i < count; ++i) from_scalar(values[i], to + i);
}

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)

SG3_INLINE __mmask16 first(int64_t count) { return static_cast<__mmask16>((1u << count) - 1); }

SG3_INLINE FloatLanes load_channels(const float* from, int64_t count) {
  return (FloatLanes)(count == kLanes ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps(first(count), from));
}

SG3_INLINE void store_channels(float* to, FloatLanes lanes, int64_t count) {
  if (count == kLanes) {
    _mm512_storeu_ps(to, (__m512)lanes);
  } else {
    _mm512_mask_storeu_ps(to, first(count), (__m512)lanes);
  }
}

SG3_INLINE FloatLanes load_channels(const BFloat16* from, int64_t count) {
  __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first(count), from));
  return (FloatLanes)_mm512_slli_epi32(wide, 16);
}

SG3_INLINE void store_channels(BFloat16* to, FloatLanes lanes, int64_t count) {
  __m512i bits = (__m512i)lanes;
  __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd), 16);
  __mmask16 nan = _mm512_cmp_ps_mask((__m512)lanes, (__m512)lanes, _CMP_UNORD_Q);
  __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40));
  _mm256_mask_storeu_epi16(to, first(count), _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(nan, rounded, quiet)));
}

SG3_INLINE FloatLanes load_channels(const Half* from, int64_t count) {
  return (FloatLanes)_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(count), from));
}

SG3_INLINE void store_channels(Half* to, FloatLanes lanes, int64_t count) {
  _mm256_mask_storeu_epi16(to, first(count), _mm512_cvtps_ph((__m512)lanes, _MM_FROUND_TO_NEAREST_INT));
}

#elif defined(__AVX2__) && defined(__F16C__)

SG3_INLINE __m256i first(int64_t count) {  // all bits of the first `count` of eight lanes
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

SG3_INLINE FloatLanes load_channels(const float* from, int64_t count) {
  if (count == kLanes) return load<FloatLanes>(from);
  __m256 halves[2] = {_mm256_maskload_ps(from, first(count)), _mm256_maskload_ps(from + 8, first(count - 8))};
  return load<FloatLanes>(reinterpret_cast<float*>(halves));
}

SG3_INLINE void store_channels(float* to, FloatLanes lanes, int64_t count) {
  if (count == kLanes) return store(to, lanes);
  __m256 halves[2];
  memcpy(halves, &lanes, sizeof halves);
  _mm256_maskstore_ps(to, first(count), halves[0]);
  _mm256_maskstore_ps(to + 8, first(count - 8), halves[1]);
}

SG3_INLINE FloatLanes load_channels(const Half* from, int64_t count) {
  uint16_t bits[kLanes] = {};
  memcpy(bits, from, count == kLanes ? sizeof bits : static_cast<size_t>(count) * sizeof *from);
  __m256 halves[2] = {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<__m128i*>(bits))),
                      _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<__m128i*>(bits + 8)))};
  return load<FloatLanes>(reinterpret_cast<float*>(halves));
}

SG3_INLINE void store_channels(Half* to, FloatLanes lanes, int64_t count) {
  __m256 halves[2];
  memcpy(halves, &lanes, sizeof halves);
  __m128i bits[2] = {_mm256_cvtps_ph(halves[0], _MM_FROUND_TO_NEAREST_INT),
                     _mm256_cvtps_ph(halves[1], _MM_FROUND_TO_NEAREST_INT)};
  memcpy(to, bits, count == kLanes ? sizeof bits : static_cast<size_t>(count) * sizeof *to);
}

#endif

// --- Comparisons
// -------------------------------------------------------------------------------------------------------

// Sets bit i of the result if lane i of a is less than lane i of b.
template <class Lanes>
SG3_INLINE uint32_t less_bits(Lanes a, Lanes b) {
  uint32_t bits = 0;
  for (int64_t i = 0; i < kLanes; ++i) bits |= uint32_t(a[i] < b[i]) << i;
  return bits;
}

#if defined(__AVX512F__)
template <>
SG3_INLINE uint32_t less_bits(FloatLanes a, FloatLanes b) {
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ);
}
#elif defined(__AVX2__)
template <>
SG3_INLINE uint32_t less_bits(FloatLanes a, FloatLanes b) {
  Int32Lanes less = a < b;
  __m256 halves[2];
  memcpy(halves, &less, sizeof halves);
  return uint32_t(_mm256_movemask_ps(halves[0])) | uint32_t(_mm256_movemask_ps(halves[1])) << 8;
}
#elif defined(__SSE2__)
template <>
SG3_INLINE uint32_t less_bits(FloatLanes a, FloatLanes b) {
  Int32Lanes less = a < b;
  __m128 quarters[4];
  memcpy(quarters, &less, sizeof quarters);
  uint32_t bits = 0;
  for (int i = 0; i < 4; ++i) bits |= uint32_t(_mm_movemask_ps(quarters[i])) << (4 * i);
  return bits;
}
#endif

// Lane i of `yes` where bit i is set, else of `no`.
template <class Ints, class Lanes>
SG3_INLINE Lanes choose(uint32_t bits, Lanes yes, Lanes no) {
  Ints bit_of_lane;
  for (int64_t i = 0; i < kLanes; ++i) bit_of_lane[i] = 1 << i;
  return (bit_of_lane & bits) != 0 ? yes : no;
}

#if defined(__AVX512F__)
template <class Ints>
SG3_INLINE FloatLanes choose(uint32_t bits, FloatLanes yes, FloatLanes no) {
  return (FloatLanes)_mm512_mask_blend_ps(static_cast<__mmask16>(bits), (__m512)no, (__m512)yes);
}
#endif

}  // namespace
}  // namespace sg3::SG3_ISA

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CPU_SIMD_H_
