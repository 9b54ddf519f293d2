// Values of the four element types, and the error allowed in each, for tests.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_TESTING_VALUES_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_TESTING_VALUES_H_

#include <cmath>
#include <vector>

#include "custom_ops/resampling/float16.h"
#include "custom_ops/resampling/stage.h"

namespace sg3::testing {

template <class T>
Sg3Type element_type();
template <>
inline Sg3Type element_type<float>() {
  return SG3_FLOAT32;
}
template <>
inline Sg3Type element_type<double>() {
  return SG3_FLOAT64;
}
template <>
inline Sg3Type element_type<Half>() {
  return SG3_FLOAT16;
}
template <>
inline Sg3Type element_type<BFloat16>() {
  return SG3_BFLOAT16;
}

// The error allowed, as a share of the greatest value: for 16-bit types, half a unit in the last place of the result;
// for the others, a few hundred roundings of partial sums, most of which cancel.
template <class T>
double tolerance();
template <>
inline double tolerance<float>() {
  return 64 * std::ldexp(1, -24);
}
template <>
inline double tolerance<double>() {
  return 64 * std::ldexp(1, -53);
}
template <>
inline double tolerance<Half>() {
  return std::ldexp(1, -11) + tolerance<float>();
}
template <>
inline double tolerance<BFloat16>() {
  return std::ldexp(1, -8) + tolerance<float>();
}

inline float rounded_to(double x, float) { return static_cast<float>(x); }
inline double rounded_to(double x, double) { return x; }
template <class T>
T rounded_to(double x, T result) {
  round_float32(static_cast<float>(x), &result);
  return result;
}

inline double value(float x) { return x; }
inline double value(double x) { return x; }
inline double value(Half x) { return to_float32(x); }
inline double value(BFloat16 x) { return to_float32(x); }

template <class T>
std::vector<T> rounded(const std::vector<double>& exact) {
  std::vector<T> out;
  for (double x : exact) out.push_back(rounded_to(x, T()));
  return out;
}

template <class T>
std::vector<double> values(const std::vector<T>& in) {
  std::vector<double> out;
  for (T x : in) out.push_back(value(x));
  return out;
}

// A guard value around outputs, to show whether anything is written beyond them.
template <class T>
T sentinel() {
  return rounded_to(777, T());
}

inline double greatest(const std::vector<double>& values) {
  double result = 0;
  for (double x : values) result = std::fmax(result, std::fabs(x));
  return result;
}

// Returns infinity if any of the numbers is NaN.
inline double greatest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double result = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    double difference = std::fabs(a[i] - b[i]);
    if (std::isnan(difference)) return INFINITY;
    result = std::fmax(result, difference);
  }
  return result;
}

}  // namespace sg3::testing

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_TESTING_VALUES_H_
