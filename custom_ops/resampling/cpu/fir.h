// The inner loops of the CPU kernels: weighted sums of rows and of columns, for sixteen channels at a time.
//
// A row is an array [columns][16] of float or double in scratch memory. Several columns are summed side by side: each
// tap is loaded once for all of them, and their latencies overlap. No standard headers: see simd.h.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CPU_FIR_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CPU_FIR_H_

#include "custom_ops/resampling/cpu/simd.h"

namespace sg3::SG3_ISA {
namespace {

// sums[j] += the sum over k < count of taps[k] * row_of(k)[j * step], for j < columns.
template <int columns, class Lanes, class Scalar, class RowOf>
SG3_INLINE void accumulate(Lanes (&sums)[columns], const Scalar* taps, int64_t count, int64_t step, RowOf row_of) {
  for (int64_t k = 0; k < count; ++k) {
    const Scalar* row = row_of(k);
    Lanes tap = broadcast<Lanes>(taps[k]);
#pragma GCC unroll 16
    for (int j = 0; j < columns; ++j) sums[j] += tap * load<Lanes>(row + j * step * kLanes);
  }
}

// A number of taps and a step that the compiler knows. Each such case of a sum takes time to compile.
template <int count_, int step_>
struct Case {
  static constexpr int count = count_, step = step_;
};

// The same, with code of their own for the given cases of float, which the networks use.
template <class... Cases, int columns, class Lanes, class Scalar, class RowOf>
SG3_INLINE void accumulate_fast(Lanes (&sums)[columns], const Scalar* taps, int64_t count, int64_t step, RowOf row_of) {
  const auto is_done = [&](auto c) {
    if (count != c.count || step != c.step) return false;
    accumulate(sums, taps, c.count, c.step, row_of);
    return true;
  };
  if constexpr (sizeof(Scalar) == sizeof(float)) {
    if ((is_done(Cases{}) || ...)) return;
  }
  accumulate(sums, taps, count, step, row_of);
}

// Calls done(column + j, sums[j]) for the columns below `width`.
template <int columns, class Lanes, class Done>
SG3_INLINE void finish(const Lanes (&sums)[columns], int64_t column, int64_t width, Done done) {
  if (column + columns <= width) {
#pragma GCC unroll 16
    for (int j = 0; j < columns; ++j) done(column + j, sums[j]);
    return;
  }
  // Also unrolled: with an index unknown at compile time, the compiler would keep the sums in memory.
#pragma GCC unroll 16
  for (int j = 0; j < columns; ++j) {
    if (column + j < width) done(column + j, sums[j]);
  }
}

// Calls done(j, sum) for j < width, with the sum over term < terms and k < count of taps[term * pitch + k] *
// row_of(term, k)[j * step]. Columns are summed in groups of kColumns, so rows must have room for a whole last group;
// its surplus values do not matter.
template <class Lanes, class... Cases, class Scalar, class RowOf, class Done>
SG3_INLINE void sum(int64_t width, int64_t step, int64_t terms, const Scalar* taps, int64_t pitch, int64_t count,
                    RowOf row_of, Done done) {
  constexpr int columns = kColumns<Lanes>;
  for (int64_t column = 0; column < width; column += columns) {
    Lanes sums[columns] = {};
    for (int64_t term = 0; term < terms; ++term) {
      accumulate_fast<Cases...>(sums, taps + term * pitch, count, step,
                                [&](int64_t k) { return row_of(term, k) + column * step * kLanes; });
    }
    finish(sums, column, width, done);
  }
}

// Computes two such sums. The second starts `shift` <= count rows later; each row is loaded once for both. Calls
// first(j, sum of taps[k] * row_of(term, k)[j]) and second(j, sum of others[k] * row_of(term, k + shift)[j]) for
// j < width.
template <class Lanes, class Scalar, class RowOf, class First, class Second>
SG3_INLINE void sum_pair(int64_t width, int64_t terms, const Scalar* taps, const Scalar* others, int64_t pitch,
                         int64_t count, int64_t shift, RowOf row_of, First first, Second second) {
  constexpr int columns = kColumns<Lanes> > 1 ? kColumns<Lanes> / 2 : 1;
  for (int64_t column = 0; column < width; column += columns) {
    Lanes a[columns] = {}, b[columns] = {};
    for (int64_t term = 0; term < terms; ++term, taps += pitch, others += pitch) {
      auto row = [&](int64_t k) { return row_of(term, k) + column * kLanes; };
      auto late = [&](int64_t k) { return row(k + count); };
      accumulate(a, taps, shift, 1, row);
      for (int64_t k = shift; k < count; ++k) {
        const Scalar* source = row(k);
        Lanes tap = broadcast<Lanes>(taps[k]), other = broadcast<Lanes>(others[k - shift]);
#pragma GCC unroll 8
        for (int j = 0; j < columns; ++j) {
          Lanes sample = load<Lanes>(source + j * kLanes);
          a[j] += tap * sample;
          b[j] += other * sample;
        }
      }
      accumulate(b, others + count - shift, shift, 1, late);
    }
    taps -= terms * pitch, others -= terms * pitch;
    finish(a, column, width, first);
    finish(b, column, width, second);
  }
}

}  // namespace
}  // namespace sg3::SG3_ISA

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CPU_FIR_H_
