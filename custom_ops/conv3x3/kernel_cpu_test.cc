// The CPU kernels, compared with the definition. SG3TF_ISA selects the instruction set.

#include <cmath>
#include <cstdio>
#include <iterator>
#include <vector>

#include "custom_ops/conv3x3/cpu.h"
#include "custom_ops/resampling/testing/reference.h"
#include "custom_ops/resampling/testing/values.h"

namespace sg3::testing {
namespace {

const Conv3x3 kCases[] = {
    {1, 3, 3, 1, 1, 0},       // a single output
    {2, 4, 4, 16, 16, 0},     // one tile per image
    {2, 7, 6, 3, 5, 1},       // outputs that do not fill a tile, channels that do not fill a vector
    {1, 1, 1, 16, 33, 2},     // more padding than image
    {3, 1, 5, 17, 48, 1},     // a row
    {1, 9, 8, 64, 64, 2},     // two panels, of 48 and 16
    {2, 12, 11, 65, 181, 1},  // two groups of inputs, four panels
    {4, 30, 40, 32, 32, 2},   // several blocks and slices
    {0, 4, 4, 16, 16, 1},     // an empty batch
};

int64_t in_size(const Conv3x3& c) { return c.batch * c.height * c.width * c.in_channels; }
int64_t out_size(const Conv3x3& c) { return c.batch * c.out_height() * c.out_width() * c.out_channels; }
int64_t kernel_size(const Conv3x3& c) { return 9 * c.in_channels * c.out_channels; }

// Calls use(index into x, the kernel, y, the factors of x, the factors of y) for every product in the definition.
template <class Use>
void for_products(const Conv3x3& c, const Use& use) {
  for (int64_t n = 0; n < c.batch; ++n) {
    for (int64_t oy = 0; oy < c.out_height(); ++oy) {
      for (int64_t ox = 0; ox < c.out_width(); ++ox) {
        for (int64_t tap = 0; tap < 9; ++tap) {
          const int64_t y = oy + tap / 3 - c.pad, x = ox + tap % 3 - c.pad;
          if (y < 0 || y >= c.height || x < 0 || x >= c.width) continue;
          for (int64_t in = 0; in < c.in_channels; ++in) {
            for (int64_t out = 0; out < c.out_channels; ++out) {
              use(((n * c.height + y) * c.width + x) * c.in_channels + in,
                  (tap * c.in_channels + in) * c.out_channels + out,
                  ((n * c.out_height() + oy) * c.out_width() + ox) * c.out_channels + out, n * c.in_channels + in,
                  n * c.out_channels + out);
            }
          }
        }
      }
    }
  }
}

// Adds a guard sample at either end, to show whether anything is written there.
std::vector<float> guarded(int64_t size) {
  return std::vector<float>(static_cast<size_t>(size) + 2, sentinel<float>());
}

int report(const char* what, const Conv3x3& c, const std::vector<float>& actual, const std::vector<double>& expected) {
  std::vector<double> all = values(actual), inner(all.begin() + 1, all.end() - 1);
  const double error = greatest_difference(inner, expected), bound = tolerance<float>() * (1 + greatest(expected));
  if (error <= bound && all.front() == value(sentinel<float>()) && all.back() == all.front()) return 0;
  printf("conv3x3 case %td, %s: off by %g, allowed %g\n", &c - kCases, what, error, bound);
  return 1;
}

std::vector<float> convolved(const Conv3x3& c, const std::vector<float>& x, const std::vector<float>& kernel,
                             const Conv3x3Scales& scales, int threads) {
  const Conv3x3Cpu cpu(c, threads);
  Scratch transformed(static_cast<size_t>(cpu.transformed_size()) * sizeof(float));
  float* to = static_cast<float*>(transformed.get());
  for (int64_t in = c.in_channels - 1; in >= 0; --in) cpu.transform_kernel(kernel.data(), to, in, in + 1);
  std::vector<float> y = guarded(out_size(c));
  for (int64_t i = cpu.tiles() - 1; i >= 0; --i) cpu.run(i, i + 1, to, {x.data(), scales, y.data() + 1});
  return y;
}

int check(const Conv3x3& c, bool scaled) {
  const std::vector<float> x = rounded<float>(normal(in_size(c), 1, 1));
  const std::vector<float> kernel = rounded<float>(normal(kernel_size(c), 0.3, 2));
  const std::vector<float> dy = rounded<float>(normal(out_size(c), 1, 3));
  const std::vector<float> in = rounded<float>(normal(c.batch * c.in_channels, 1, 4));
  const std::vector<float> out = rounded<float>(normal(c.batch * c.out_channels, 1, 5));
  const Conv3x3Scales scales = {scaled ? in.data() : nullptr, scaled ? out.data() : nullptr};
  std::vector<double> y(static_cast<size_t>(out_size(c))), by_kernel(static_cast<size_t>(kernel_size(c)));
  for_products(c, [&](int64_t i, int64_t k, int64_t o, int64_t of_in, int64_t of_out) {
    const double factor = scaled ? static_cast<double>(in[of_in]) * out[of_out] : 1;
    y[o] += factor * x[i] * kernel[k];
    by_kernel[k] += factor * x[i] * dy[o];
  });

  const std::vector<float> one = convolved(c, x, kernel, scales, 1), many = convolved(c, x, kernel, scales, 64);
  int failures = report("convolution", c, one, y) + report("64 threads", c, many, y);
  if (one != many) failures += printf("conv3x3 case %td: depends on the number of threads\n", &c - kCases) > 0;

  const Conv3x3KernelGradientCpu cpu(c);
  Scratch sums(static_cast<size_t>(cpu.sums_size()) * sizeof(float));
  float* to = static_cast<float*>(sums.get());
  for (int64_t i = cpu.tiles() - 1; i >= 0; --i) cpu.run(i, i + 1, x.data(), dy.data(), scales, to);
  std::vector<float> gradient = guarded(kernel_size(c));
  for (int64_t i = c.in_channels - 1; i >= 0; --i) cpu.sum(i, i + 1, to, gradient.data() + 1);
  return failures + report("gradient by the kernel", c, gradient, by_kernel);
}

int run() {
  int failures = 0;
  for (const Conv3x3& c : kCases) failures += check(c, false) + check(c, true);
  printf("conv3x3 on %s: %zu cases, %d failures\n", name(isa()), std::size(kCases), failures);
  return failures != 0;
}

}  // namespace
}  // namespace sg3::testing

int main() { return sg3::testing::run(); }
