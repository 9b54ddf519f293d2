// Vectors of sixteen channels, the unit of all arithmetic in the CPU kernels.
//
// Included by sources that are compiled once per instruction set, into the namespace SG3_ISA. Everything here is
// therefore local to that source. No standard C++ header is used, because the linker keeps a single copy of each
// standard function template, which could be the one compiled for AVX-512.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CPU_SIMD_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CPU_SIMD_H_

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "custom_ops/resampling/cpu/tiling.h"
#include "custom_ops/resampling/float16.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define SG3_AVX512
#elif defined(__AVX2__) && defined(__F16C__)
#define SG3_AVX2
#elif defined(__SSE2__)
#define SG3_SSE2
#endif

namespace sg3::SG3_ISA {
namespace {

constexpr int64_t kLanes = kBlock;

// A vector of the instruction set. Wider vectors are not left to the compiler: GCC splits them and keeps the pieces in
// memory.
#if defined(SG3_AVX512)
constexpr int kVectorBytes = 64;
#elif defined(SG3_AVX2)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
typedef float FloatVector __attribute__((vector_size(kVectorBytes)));
typedef double DoubleVector __attribute__((vector_size(kVectorBytes)));

// Two vectors, or two pairs, that together form one with twice as many lanes.
template <class Part>
struct Pair {
  Part low, high;
};

template <class Vector, int64_t lanes = sizeof(Vector) / sizeof(Vector{}[0])>
struct Sixteen {
  using Lanes = typename Sixteen<Pair<Vector>, 2 * lanes>::Lanes;
};
template <class Vector>
struct Sixteen<Vector, kLanes> {
  using Lanes = Vector;
};

using FloatLanes = Sixteen<FloatVector>::Lanes;
using DoubleLanes = Sixteen<DoubleVector>::Lanes;

// The arithmetic types for each element type.
template <class T>
struct Arithmetic {
  using Scalar = float;
  using Lanes = FloatLanes;
};
template <>
struct Arithmetic<double> {
  using Scalar = double;
  using Lanes = DoubleLanes;
};

// Columns that one pass of a filter sums side by side: enough to hide the latency, and few enough for the registers.
#if defined(SG3_AVX512)
constexpr int kFloatColumns = 8;
#elif defined(SG3_AVX2)
constexpr int kFloatColumns = 4;
#else
constexpr int kFloatColumns = 2;
#endif
template <class Lanes>
constexpr int kColumns = sizeof(Lanes) == 64 ? kFloatColumns : kFloatColumns / 2;

// The number of lanes of a vector or a pair.
template <class Vector>
struct Width {
  static constexpr int value = sizeof(Vector) / sizeof(Vector{}[0]);
};
template <class Part>
struct Width<Pair<Part>> {
  static constexpr int value = 2 * Width<Part>::value;
};

template <class Part>
SG3_INLINE Pair<Part> operator+(Pair<Part> a, Pair<Part> b) {
  return {a.low + b.low, a.high + b.high};
}

template <class Part>
SG3_INLINE Pair<Part> operator-(Pair<Part> a, Pair<Part> b) {
  return {a.low - b.low, a.high - b.high};
}

template <class Part>
SG3_INLINE Pair<Part> operator*(Pair<Part> a, Pair<Part> b) {
  return {a.low * b.low, a.high * b.high};
}

template <class Part>
SG3_INLINE Pair<Part> operator-(Pair<Part> a) {
  return {-a.low, -a.high};
}

template <class Part>
SG3_INLINE Pair<Part>& operator+=(Pair<Part>& a, Pair<Part> b) {
  return a = a + b;
}

// --- Memory
// ------------------------------------------------------------------------------------------------------------

template <class Vector, class Scalar>
SG3_INLINE void fill(Vector* to, Scalar value) {
  *to = value - Vector{};
}
template <class Part, class Scalar>
SG3_INLINE void fill(Pair<Part>* to, Scalar value) {
  fill(&to->low, value);
  fill(&to->high, value);
}
template <class Lanes, class Scalar>
SG3_INLINE Lanes broadcast(Scalar value) {
  Lanes lanes;
  fill(&lanes, value);
  return lanes;
}

template <class Vector, class Scalar>
SG3_INLINE void read(Vector* to, const Scalar* from) {
  memcpy(to, from, sizeof *to);
}
template <class Part, class Scalar>
SG3_INLINE void read(Pair<Part>* to, const Scalar* from) {
  read(&to->low, from);
  read(&to->high, from + Width<Part>::value);
}
template <class Lanes, class Scalar>
SG3_INLINE Lanes load(const Scalar* from) {
  Lanes lanes;
  read(&lanes, from);
  return lanes;
}

template <class Vector, class Scalar>
SG3_INLINE void store(Scalar* to, Vector vector) {
  memcpy(to, &vector, sizeof vector);
}
template <class Part, class Scalar>
SG3_INLINE void store(Scalar* to, Pair<Part> lanes) {
  store(to, lanes.low);
  store(to + Width<Part>::value, lanes.high);
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

// Loads the first `count` of sixteen channels; the others are zero.
template <class T>
SG3_INLINE typename Arithmetic<T>::Lanes load_channels_singly(const T* from, int64_t count) {
  typename Arithmetic<T>::Scalar lanes[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = to_scalar(from[i]);
  return load<typename Arithmetic<T>::Lanes>(lanes);
}

template <class T>
SG3_INLINE void store_channels_singly(T* to, typename Arithmetic<T>::Lanes lanes, int64_t count) {
  typename Arithmetic<T>::Scalar values[kLanes];
  store(values, lanes);
  for (int64_t i = 0; i < count; ++i) from_scalar(values[i], to + i);
}

template <class T>
SG3_INLINE typename Arithmetic<T>::Lanes load_channels(const T* from, int64_t count) {
  using Scalar = typename Arithmetic<T>::Scalar;
  if constexpr (sizeof(T) == sizeof(Scalar)) {
    if (count == kLanes) return load<typename Arithmetic<T>::Lanes>(from);
  }
  return load_channels_singly(from, count);
}

template <class T>
SG3_INLINE void store_channels(T* to, typename Arithmetic<T>::Lanes lanes, int64_t count) {
  using Scalar = typename Arithmetic<T>::Scalar;
  if constexpr (sizeof(T) == sizeof(Scalar)) {
    if (count == kLanes) return store(to, lanes);
  }
  store_channels_singly(to, lanes, count);
}

#if defined(SG3_AVX512)

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

#elif defined(SG3_AVX2) || defined(SG3_SSE2)

typedef uint32_t BitsVector __attribute__((vector_size(kVectorBytes)));

// Returns the bits of bfloat16 numbers in the lower halves, rounded to nearest even.
SG3_INLINE BitsVector bfloat16_bits(FloatVector x) {
  BitsVector bits = (BitsVector)x, upper = bits >> 16;
  return x != x ? upper | 0x40 : (bits + 0x7fff + (upper & 1)) >> 16;
}

#if defined(SG3_AVX2)

SG3_INLINE __m256i first(int64_t count) {  // all bits of the first `count` of eight lanes
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

SG3_INLINE FloatLanes load_channels(const float* from, int64_t count) {
  if (count == kLanes) return load<FloatLanes>(from);
  return {(FloatVector)_mm256_maskload_ps(from, first(count)),
          (FloatVector)_mm256_maskload_ps(from + 8, first(count - 8))};
}

SG3_INLINE void store_channels(float* to, FloatLanes lanes, int64_t count) {
  if (count == kLanes) return store(to, lanes);
  _mm256_maskstore_ps(to, first(count), (__m256)lanes.low);
  _mm256_maskstore_ps(to + 8, first(count - 8), (__m256)lanes.high);
}

// Loads the first `count` of sixteen 16-bit numbers. Masks work on 32 bits, so an odd last number is moved separately.
template <class T>
SG3_INLINE __m256i load_bits(const T* from, int64_t count) {
  static_assert(sizeof(T) == 2);
  if (count == kLanes) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  __m256i bits = _mm256_maskload_epi32(reinterpret_cast<const int*>(from), first(count / 2));
  if (count % 2 == 0) return bits;
  __m256i last = _mm256_set1_epi32(from[count - 1].bits);
  return _mm256_or_si256(bits, _mm256_and_si256(last, _mm256_xor_si256(first(count / 2), first(count / 2 + 1))));
}

template <class T>
SG3_INLINE void store_bits(T* to, __m256i bits, int64_t count) {
  static_assert(sizeof(T) == 2);
  if (count == kLanes) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bits);
  _mm256_maskstore_epi32(reinterpret_cast<int*>(to), first(count / 2), bits);
  if (count % 2 == 0) return;
  T all[kLanes];
  memcpy(all, &bits, sizeof all);
  to[count - 1] = all[count - 1];
}

SG3_INLINE FloatLanes load_channels(const BFloat16* from, int64_t count) {
  __m256i bits = load_bits(from, count);
  __m256i low = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(bits));
  __m256i high = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(bits, 1));
  return {(FloatVector)_mm256_slli_epi32(low, 16), (FloatVector)_mm256_slli_epi32(high, 16)};
}

SG3_INLINE void store_channels(BFloat16* to, FloatLanes lanes, int64_t count) {
  __m256i packed = _mm256_packus_epi32((__m256i)bfloat16_bits(lanes.low), (__m256i)bfloat16_bits(lanes.high));
  store_bits(to, _mm256_permute4x64_epi64(packed, 0xd8), count);  // quarters 0, 2, 1, 3
}

SG3_INLINE FloatLanes load_channels(const Half* from, int64_t count) {
  __m256i bits = load_bits(from, count);
  return {(FloatVector)_mm256_cvtph_ps(_mm256_castsi256_si128(bits)),
          (FloatVector)_mm256_cvtph_ps(_mm256_extracti128_si256(bits, 1))};
}

SG3_INLINE void store_channels(Half* to, FloatLanes lanes, int64_t count) {
  __m128i low = _mm256_cvtps_ph((__m256)lanes.low, _MM_FROUND_TO_NEAREST_INT);
  __m128i high = _mm256_cvtps_ph((__m256)lanes.high, _MM_FROUND_TO_NEAREST_INT);
  store_bits(to, _mm256_set_m128i(high, low), count);
}

#else

SG3_INLINE Pair<FloatVector> load_eight(const BFloat16* from) {
  __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)), zero = _mm_setzero_si128();
  return {(FloatVector)_mm_unpacklo_epi16(zero, bits), (FloatVector)_mm_unpackhi_epi16(zero, bits)};
}

SG3_INLINE FloatLanes load_channels(const BFloat16* from, int64_t count) {
  if (count != kLanes) return load_channels_singly(from, count);
  return {load_eight(from), load_eight(from + 8)};
}

SG3_INLINE __m128i eight_bfloat16(Pair<FloatVector> x) {
  // Extends the sign, because SSE2 narrows signed numbers only.
  __m128i low = _mm_srai_epi32(_mm_slli_epi32((__m128i)bfloat16_bits(x.low), 16), 16);
  __m128i high = _mm_srai_epi32(_mm_slli_epi32((__m128i)bfloat16_bits(x.high), 16), 16);
  return _mm_packs_epi32(low, high);
}

SG3_INLINE void store_channels(BFloat16* to, FloatLanes lanes, int64_t count) {
  if (count != kLanes) return store_channels_singly(to, lanes, count);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), eight_bfloat16(lanes.low));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 8), eight_bfloat16(lanes.high));
}

#endif
#endif

// --- Comparisons
// -------------------------------------------------------------------------------------------------------

// Returns lane i of `yes` where lane i of a is less than that of b, else of `no`.
template <class Vector>
SG3_INLINE Vector where_less(Vector a, Vector b, Vector yes, Vector no) {
  return a < b ? yes : no;
}
template <class Part>
SG3_INLINE Pair<Part> where_less(Pair<Part> a, Pair<Part> b, Pair<Part> yes, Pair<Part> no) {
  return {where_less(a.low, b.low, yes.low, no.low), where_less(a.high, b.high, yes.high, no.high)};
}

// Both return a where either is NaN.
template <class Lanes>
SG3_INLINE Lanes minimum(Lanes a, Lanes b) {
  return where_less(b, a, b, a);
}
template <class Lanes>
SG3_INLINE Lanes maximum(Lanes a, Lanes b) {
  return where_less(a, b, b, a);
}

// Sets bit i of the result if lane i of a is less than lane i of b.
#if defined(SG3_AVX512)
SG3_INLINE uint32_t less_bits(FloatVector a, FloatVector b) {
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ);
}
SG3_INLINE uint32_t less_bits(DoubleVector a, DoubleVector b) {
  return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_LT_OQ);
}
#elif defined(SG3_AVX2)
SG3_INLINE uint32_t less_bits(FloatVector a, FloatVector b) { return uint32_t(_mm256_movemask_ps((__m256)(a < b))); }
SG3_INLINE uint32_t less_bits(DoubleVector a, DoubleVector b) { return uint32_t(_mm256_movemask_pd((__m256d)(a < b))); }
#elif defined(SG3_SSE2)
SG3_INLINE uint32_t less_bits(FloatVector a, FloatVector b) { return uint32_t(_mm_movemask_ps((__m128)(a < b))); }
SG3_INLINE uint32_t less_bits(DoubleVector a, DoubleVector b) { return uint32_t(_mm_movemask_pd((__m128d)(a < b))); }
#else
template <class Vector>
SG3_INLINE uint32_t less_bits(Vector a, Vector b) {
  uint32_t bits = 0;
  for (int i = 0; i < Width<Vector>::value; ++i) bits |= uint32_t(a[i] < b[i]) << i;
  return bits;
}
#endif
template <class Part>
SG3_INLINE uint32_t less_bits(Pair<Part> a, Pair<Part> b) {
  return less_bits(a.low, b.low) | less_bits(a.high, b.high) << Width<Part>::value;
}

// Returns lane i of `yes` where bit `first` + i is set, else of `no`.
template <int first = 0, class Vector>
SG3_INLINE Vector choose(uint32_t bits, Vector yes, Vector no) {
  // 32-bit integers for double as well, because SSE2 cannot compare wider ones.
  typedef int32_t Ints __attribute__((vector_size(kVectorBytes)));
  constexpr int ints = kVectorBytes / sizeof(int32_t);
  Ints bit_of_lane;
  for (int i = 0; i < ints; ++i) bit_of_lane[i] = 1 << (first + i * Width<Vector>::value / ints);
  Ints clear = (bit_of_lane & (static_cast<int>(bits) - Ints{})) == 0;
  return (Vector)(((Ints)no & clear) | ((Ints)yes & ~clear));
}
#if defined(SG3_AVX512)
template <int first = 0>
SG3_INLINE FloatVector choose(uint32_t bits, FloatVector yes, FloatVector no) {
  return (FloatVector)_mm512_mask_blend_ps(static_cast<__mmask16>(bits >> first), (__m512)no, (__m512)yes);
}
template <int first = 0>
SG3_INLINE DoubleVector choose(uint32_t bits, DoubleVector yes, DoubleVector no) {
  return (DoubleVector)_mm512_mask_blend_pd(static_cast<__mmask8>(bits >> first), (__m512d)no, (__m512d)yes);
}
#endif
template <int first = 0, class Part>
SG3_INLINE Pair<Part> choose(uint32_t bits, Pair<Part> yes, Pair<Part> no) {
  return {choose<first>(bits, yes.low, no.low), choose<first + Width<Part>::value>(bits, yes.high, no.high)};
}

}  // namespace
}  // namespace sg3::SG3_ISA

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CPU_SIMD_H_
