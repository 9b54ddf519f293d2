// Compares the vectors of sixteen channels of one instruction set (SG3_ISA), lane by lane, with scalars.

#include <cstdio>
#include <cstring>
#include <random>

#include "custom_ops/resampling/cpu/isa.h"
#include "custom_ops/resampling/cpu/simd.h"

namespace sg3::SG3_ISA {
namespace {

int failures = 0;

void expect(bool condition, const char* what, int64_t i) {
  if (condition) return;
  if (++failures <= 20) printf("wrong %s: %lld\n", what, static_cast<long long>(i));
}

// Bitwise equal. Which of two NaNs a sum yields is unspecified, but conversions keep NaNs.
template <class Value>
bool same(Value a, Value b) {
  return memcmp(&a, &b, sizeof a) == 0;
}

std::mt19937 engine(1);

// Numbers with every exponent, zeros, infinities and NaNs, and midpoints between two 16-bit numbers.
float any_float() {
  uint32_t bits = uint32_t(engine());
  if (engine() % 4 == 0) bits = (bits & 0xffff0000) | 0x8000;
  if (engine() % 8 == 0) bits = (bits & 0x80000000) | (engine() % 2 ? 0x7f800000 : 0);
  if (engine() % 16 == 0) bits |= 0x7fc00000;
  if (engine() % 4 == 0) bits = (bits & 0x87ffffff) | 0x38000000;  // the range of float16
  return bits_to_float(bits);
}

template <class T>
void test_memory(int64_t count) {
  using Scalar = typename Arithmetic<T>::Scalar;
  T source[kLanes + 1], target[kLanes + 1];
  Scalar values[kLanes], loaded[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) values[i] = any_float();
  for (int64_t i = 0; i <= kLanes; ++i) from_scalar(Scalar(any_float()), source + i);
  store(loaded, load_channels(source, count));
  for (int64_t i = 0; i < kLanes; ++i) {
    Scalar expected = i < count ? to_scalar(source[i]) : Scalar(0);
    expect(same(loaded[i], expected) || (loaded[i] != loaded[i] && expected != expected), "load_channels", i);
  }
  memset(target, 0x5a, sizeof target);
  T untouched = target[0];
  store_channels(target, load<typename Arithmetic<T>::Lanes>(values), count);
  for (int64_t i = 0; i <= kLanes; ++i) {
    T expected = untouched;
    if (i < count) from_scalar(values[i], &expected);
    Scalar a = to_scalar(target[i]), b = to_scalar(expected);
    expect(same(target[i], expected) || (a != a && b != b), "store_channels", i);
  }
}

template <class T>
void test_arithmetic() {
  using Lanes = typename Arithmetic<T>::Lanes;
  T a[kLanes], b[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) {
    a[i] = any_float();
    b[i] = engine() % 4 == 0 ? a[i] : T(any_float());
  }
  Lanes x = load<Lanes>(a), y = load<Lanes>(b), sum = x;
  sum += y;
  const uint32_t bits = uint32_t(engine()), less = less_bits(x, y);
  auto check = [&](const char* what, Lanes lanes, auto of) {
    T values[kLanes];
    store(values, lanes);
    for (int64_t i = 0; i < kLanes; ++i) {
      T expected = of(a[i], b[i], i);
      expect(same(values[i], expected) || (values[i] != values[i] && expected != expected), what, i);
    }
  };
  check("+", x + y, [](T p, T q, int64_t) { return p + q; });
  check("+=", sum, [](T p, T q, int64_t) { return p + q; });
  check("binary -", x - y, [](T p, T q, int64_t) { return p - q; });
  check("*", x * y, [](T p, T q, int64_t) { return p * q; });
  check("unary -", -x, [](T p, T, int64_t) { return -p; });
  check("broadcast", broadcast<Lanes>(a[3]), [&](T, T, int64_t) { return a[3]; });
  check("minimum", minimum(x, y), [](T p, T q, int64_t) { return q < p ? q : p; });
  check("maximum", maximum(x, y), [](T p, T q, int64_t) { return p < q ? q : p; });
  check("where_less", where_less(x, y, x, y), [](T p, T q, int64_t) { return p < q ? p : q; });
  check("choose", choose(bits, x, y), [&](T p, T q, int64_t i) { return bits >> i & 1 ? p : q; });
  for (int64_t i = 0; i < kLanes; ++i) expect((less >> i & 1) == (a[i] < b[i]), "less_bits", i);
  expect(less >> kLanes == 0, "upper bits of less_bits", 0);
}

int run() {
  if (isa() < Isa::SG3_ISA) {
    printf("this processor lacks the instruction set\n");
    return 0;
  }
  for (int repeat = 0; repeat < 2000; ++repeat) {
    for (int64_t count = 1; count <= kLanes; ++count) {
      test_memory<float>(count);
      test_memory<double>(count);
      test_memory<Half>(count);
      test_memory<BFloat16>(count);
    }
    test_arithmetic<float>();
    test_arithmetic<double>();
  }
  printf("vectors: %d failures\n", failures);
  return failures != 0;
}

}  // namespace
}  // namespace sg3::SG3_ISA

int main() { return sg3::SG3_ISA::run(); }
