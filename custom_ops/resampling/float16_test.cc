// Compares conversions of float16 and bfloat16 numbers with exact arithmetic in double precision.

#include "custom_ops/resampling/float16.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>

namespace sg3::testing {
namespace {

int failures = 0;

void expect(bool condition, const char* what, double x) {
  if (condition) return;
  if (++failures <= 20) printf("wrong %s: %a\n", what, x);
}

// Returns the value of 16 bits, of which `fraction` are the fraction, by the definition of the format.
double decoded(uint16_t bits, int fraction, int least_exponent) {
  int exponent = (bits & 0x7fff) >> fraction, steps = bits & ((1 << fraction) - 1);
  if ((bits & 0x7fff) >= 0x7fff >> fraction << fraction) return steps ? NAN : bits & 0x8000 ? -INFINITY : INFINITY;
  if (exponent != 0) steps += 1 << fraction;
  double magnitude = std::ldexp(steps, std::max(exponent, 1) - 1 + least_exponent - fraction);
  return bits & 0x8000 ? -magnitude : magnitude;
}

bool same(double a, double b) { return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b); }

template <class T>
float round_trip(float x) {
  T rounded;
  round_float32(x, &rounded);
  return to_float32(rounded);
}

// `unit` is the last bit of the smallest numbers, `limit` the first magnitude that rounds to infinity.
template <class T>
double expected(float x, int fraction, int least_exponent, double limit) {
  if (std::isnan(x)) return NAN;
  if (std::fabs(x) >= limit) return std::copysign(INFINITY, x);
  int exponent;
  std::frexp(x, &exponent);
  int unit = std::max(exponent - 1, least_exponent) - fraction;
  return std::copysign(std::ldexp(std::nearbyint(std::ldexp(std::fabs(double(x)), -unit)), unit), x);
}

template <class T>
void test(int fraction, int least_exponent, double limit) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    T number = {uint16_t(bits)};
    double value = decoded(number.bits, fraction, least_exponent);
    expect(same(to_float32(number), value), "value of 16 bits", bits);
    if (std::isnan(value)) continue;
    // The number itself, the midpoint between it and its neighbor, and the floats around both.
    double next = bits & 0x7fff ? decoded(uint16_t(bits - 1), fraction, least_exponent) : value;
    for (double x : {value, (value + next) / 2}) {
      if (!std::isfinite(x)) continue;
      float middle = float(x);
      for (float y : {middle, std::nextafterf(middle, INFINITY), std::nextafterf(middle, -INFINITY)}) {
        expect(same(round_trip<T>(y), expected<T>(y, fraction, least_exponent, limit)), "rounding", y);
      }
    }
  }
  std::mt19937 random(1);
  for (int i = 0; i < 1000000; ++i) {
    float x = bits_to_float(uint32_t(random()));
    expect(same(round_trip<T>(x), expected<T>(x, fraction, least_exponent, limit)), "rounding", x);
  }
  for (float x : {INFINITY, -INFINITY, NAN, std::numeric_limits<float>::max(), float(limit)}) {
    expect(same(round_trip<T>(x), expected<T>(x, fraction, least_exponent, limit)), "rounding", x);
  }
}

int run() {
  test<Half>(10, -14, 65520);
  test<BFloat16>(7, -126, std::ldexp(511, 119));
  printf("float16 and bfloat16: %d failures\n", failures);
  return failures != 0;
}

}  // namespace
}  // namespace sg3::testing

int main() { return sg3::testing::run(); }
