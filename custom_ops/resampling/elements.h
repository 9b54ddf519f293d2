// For tests: the four types of element, and how near to the truth each must come.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_ELEMENTS_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_ELEMENTS_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "custom_ops/resampling/stage.h"

namespace sg3::testing {

// Sixteen-bit floating point number with so many bits of fraction, by way of exact arithmetic in double precision.
template <int fraction, int least_exponent>
class Small {
 public:
  Small() = default;
  explicit Small(double x) {
    int exponent;
    std::frexp(x, &exponent);
    int unit = std::max(exponent - 1, least_exponent) - fraction;  // of the last bit
    double steps = std::nearbyint(std::ldexp(std::fabs(x), -unit));
    int64_t magnitude = static_cast<int64_t>(steps) + (int64_t{unit + fraction - least_exponent} << fraction);
    if (x == 0) magnitude = 0;
    bits_ = static_cast<uint16_t>(magnitude | (std::signbit(x) ? 0x8000 : 0));
  }
  explicit operator double() const {
    int64_t exponent = (bits_ & 0x7fff) >> fraction, steps = bits_ & ((1 << fraction) - 1);
    if (exponent != 0) steps += 1 << fraction;
    double magnitude = std::ldexp(steps, std::max<int>(exponent, 1) - 1 + least_exponent - fraction);
    return bits_ & 0x8000 ? -magnitude : magnitude;
  }

 private:
  uint16_t bits_;
};

using Half = Small<10, -14>;
using BFloat16 = Small<7, -126>;

template <class T>
Sg3Type type_of();
template <>
inline Sg3Type type_of<float>() {
  return SG3_FLOAT32;
}
template <>
inline Sg3Type type_of<double>() {
  return SG3_FLOAT64;
}
template <>
inline Sg3Type type_of<Half>() {
  return SG3_FLOAT16;
}
template <>
inline Sg3Type type_of<BFloat16>() {
  return SG3_BFLOAT16;
}

// Error allowed, as a share of the greatest value: half a unit in the last place of the result for 16-bit types; for
// the others a few hundred roundings of partial sums, of which few go the same way.
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

template <class T>
std::vector<T> rounded(const std::vector<double>& exact) {
  std::vector<T> out;
  for (double x : exact) out.push_back(T(x));
  return out;
}

template <class T>
std::vector<double> values(const std::vector<T>& in) {
  std::vector<double> out;
  for (T x : in) out.push_back(double(x));
  return out;
}

inline double greatest(const std::vector<double>& values) {
  double most = 0;
  for (double x : values) most = std::fmax(most, std::fabs(x));
  return most;
}

// Infinity where one of them is not a number.
inline double greatest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    double difference = std::fabs(a[i] - b[i]);
    most = difference <= most ? most : std::isnan(difference) ? INFINITY : difference;
  }
  return most;
}

}  // namespace sg3::testing

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_ELEMENTS_H_
