// The CPU kernel in each of its modes, compared with the definition. SG3TF_ISA selects the instruction set.

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "custom_ops/filtered_lrelu/cpu.h"
#include "custom_ops/resampling/testing/reference.h"
#include "custom_ops/resampling/testing/values.h"

namespace sg3::testing {
namespace {

struct Case {
  int64_t batch, height, width, channels;
  int64_t up[2], down[2], pad[4], up_taps[2], down_taps[2], up_terms, down_terms;  // (y, x); (top, bottom, left, right)
  double clamp;
};

const double kNone = INFINITY;
const Case kCases[] = {
    {1, 12, 12, 16, {2, 2}, {2, 2}, {9, 8, 9, 8}, {12, 12}, {12, 12}, 1, 1, kNone},    // a layer of config T
    {2, 16, 17, 37, {4, 4}, {2, 2}, {-6, -9, -6, -9}, {24, 24}, {12, 12}, 1, 1, 0.7},  // one that doubles the size
    {1, 14, 13, 20, {2, 2}, {2, 2}, {11, 10, 11, 10}, {12, 12}, {12, 12}, 1, 4, 2.0},  // config R
    {1, 60, 200, 3, {2, 2}, {2, 2}, {9, 8, 9, 8}, {12, 12}, {12, 12}, 1, 1, 2.0},      // several tiles, each way
    {1, 9, 70, 5, {2, 2}, {2, 2}, {9, 8, 9, 8}, {12, 12}, {12, 12}, 1, 1, 0.5},        // wider than tall
    {1, 6, 7, 3, {1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}, {1, 1}, 1, 1, 1.0},             // no filter at all
    {1, 8, 5, 64, {3, 2}, {1, 3}, {4, 1, 7, 2}, {5, 9}, {4, 3}, 2, 2, 1.5},            // different on the two axes
    {1, 9, 9, 2, {2, 2}, {4, 4}, {3, 3, 3, 3}, {4, 4}, {2, 2}, 1, 1, 0.5},             // samples that no output reads
    {0, 8, 8, 4, {2, 2}, {2, 2}, {9, 8, 9, 8}, {12, 12}, {12, 12}, 1, 1, kNone},       // an empty batch
};
constexpr double kSlope = 0.2;

// The problem of case `c`, and the storage that it points to.
struct Setting {
  std::vector<double> up_y, up_x, down_y, down_x;
  Sg3FilteredLrelu problem;

  explicit Setting(const Case& c) {
    up_y = normal(c.up_terms * c.up_taps[0], 0.5, 1), up_x = normal(c.up_terms * c.up_taps[1], 0.5, 2);
    down_y = normal(c.down_terms * c.down_taps[0], 0.5, 3), down_x = normal(c.down_terms * c.down_taps[1], 0.5, 4);
    Sg3Stage up = {axis(c.height, c.up[0], 1, c.pad[0], c.pad[1], c.up_taps[0]),
                   axis(c.width, c.up[1], 1, c.pad[2], c.pad[3], c.up_taps[1]), c.up_terms, up_y.data(), up_x.data()};
    Sg3Stage down = {axis(up.y.out_size, 1, c.down[0], 0, 0, c.down_taps[0]),
                     axis(up.x.out_size, 1, c.down[1], 0, 0, c.down_taps[1]), c.down_terms, down_y.data(),
                     down_x.data()};
    problem = {c.batch, c.channels, up, down, kSlope, c.clamp, SG3_ACTIVATE};
  }

  // The transposed map.
  Setting adjoint() const {
    Setting s = *this;
    s.up_y = reversed(down_y, problem.down.y.taps), s.up_x = reversed(down_x, problem.down.x.taps);
    s.down_y = reversed(up_y, problem.up.y.taps), s.down_x = reversed(up_x, problem.up.x.taps);
    s.problem.up = {testing::adjoint(problem.down.y), testing::adjoint(problem.down.x), problem.down.terms,
                    s.up_y.data(), s.up_x.data()};
    s.problem.down = {testing::adjoint(problem.up.y), testing::adjoint(problem.up.x), problem.up.terms, s.down_y.data(),
                      s.down_x.data()};
    s.problem.mode = SG3_APPLY_MASK;
    return s;
  }

  static std::vector<double> reversed(std::vector<double> taps, int64_t count) {
    for (size_t i = 0; i < taps.size(); i += count) std::reverse(taps.begin() + i, taps.begin() + i + count);
    return taps;
  }
};

int64_t size(const Sg3FilteredLrelu& p, int64_t height, int64_t width) { return p.batch * height * width * p.channels; }

std::vector<double> upsampled(const Sg3FilteredLrelu& p, std::vector<double> x, const std::vector<double>& bias) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += bias[i % p.channels];
  return resample(p.up, p.batch, p.channels, x);
}

double leaky(double z) { return z < 0 ? kSlope * z : z; }

std::vector<double> activated(std::vector<double> z, double clamp) {
  for (double& value : z) value = std::clamp(leaky(value), -clamp, clamp);
  return z;
}

// Returns the mask of z, and counts the samples within `margin` of a kink in `doubtful`.
std::vector<uint32_t> mask_of(const Sg3FilteredLrelu& p, const std::vector<double>& z, double margin,
                              int64_t* doubtful) {
  int64_t pixels = p.down.y.in_size * p.down.x.in_size, blocks = (p.channels + 15) / 16;
  std::vector<uint32_t> mask(p.batch * blocks * pixels);
  for (size_t i = 0; i < z.size(); ++i) {
    int64_t c = i % p.channels, pixel = i / p.channels % pixels, n = i / p.channels / pixels;
    uint32_t word = uint32_t(z[i] < 0) << c % 16 | uint32_t(std::fabs(leaky(z[i])) >= p.clamp) << (16 + c % 16);
    mask[(n * blocks + c / 16) * pixels + pixel] |= word;
    *doubtful += std::fabs(z[i]) < margin || std::fabs(std::fabs(leaky(z[i])) - p.clamp) < margin;
  }
  return mask;
}

std::vector<double> derivative(const Sg3FilteredLrelu& p, std::vector<double> v, const std::vector<uint32_t>& mask) {
  int64_t pixels = p.down.y.in_size * p.down.x.in_size, blocks = (p.channels + 15) / 16;
  v = resample(p.up, p.batch, p.channels, v);
  for (size_t i = 0; i < v.size(); ++i) {
    int64_t c = i % p.channels, pixel = i / p.channels % pixels, n = i / p.channels / pixels;
    uint32_t word = mask[(n * blocks + c / 16) * pixels + pixel] >> c % 16;
    v[i] *= word & 0x10000 ? 0 : word & 1 ? kSlope : 1;
  }
  return resample(p.down, p.batch, p.channels, v);
}

template <class T>
std::vector<double> run(const Sg3FilteredLrelu& p, int threads, const std::vector<T>& x, const std::vector<T>& bias,
                        std::vector<uint32_t>* mask) {
  std::vector<T> y(size(p, p.down.y.out_size, p.down.x.out_size) + 1, sentinel<T>());
  FilteredLreluCpu cpu(p, element_type<T>(), threads);
  for (int64_t i = cpu.tiles() - 1; i >= 0; --i) cpu.run(i, i + 1, {x.data(), bias.data(), y.data(), mask->data()});
  std::vector<double> out = values(y);
  if (out.back() != value(sentinel<T>())) printf("wrote past the end\n"), out[0] = NAN;
  out.pop_back();
  return out;
}

int report(const Case& c, const char* what, int type, double error, double bound) {
  if (error <= bound) return 0;
  printf("filtered_lrelu case %td %s type %d: off by %g, allowed %g\n", &c - kCases, what, type, error, bound);
  return 1;
}

template <class T>
int check(const Case& c, int threads) {
  Setting setting(c);
  Sg3FilteredLrelu& p = setting.problem;
  std::vector<T> x = rounded<T>(normal(size(p, c.height, c.width), 1, 5)), bias = rounded<T>(normal(c.channels, 1, 6));
  std::vector<double> z = upsampled(p, values(x), values(bias));
  std::vector<double> expected = resample(p.down, p.batch, p.channels, activated(z, c.clamp));
  double bound = tolerance<T>() * (1 + std::max(greatest(expected), greatest(z)));
  int failures = 0;

  std::vector<uint32_t> none,
      mask(p.batch * ((c.channels + 15) / 16) * p.down.y.in_size * p.down.x.in_size, 0xdeadbeef);
  failures +=
      report(c, "activate", element_type<T>(), greatest_difference(run(p, threads, x, bias, &none), expected), bound);
  p.mode = SG3_ACTIVATE_AND_MASK;
  failures += report(c, "activate and mask", element_type<T>(),
                     greatest_difference(run(p, threads, x, bias, &mask), expected), bound);

  int64_t doubtful = 0, wrong = 0;
  std::vector<uint32_t> expected_mask = mask_of(p, z, 16 * tolerance<float>(), &doubtful);
  for (size_t i = 0; i < mask.size(); ++i) wrong += __builtin_popcount(mask[i] ^ expected_mask[i]);
  failures += report(c, "mask", element_type<T>(), static_cast<double>(wrong), static_cast<double>(doubtful));

  p.mode = SG3_APPLY_MASK;
  for (const Setting& linear : {setting, setting.adjoint()}) {
    const Sg3FilteredLrelu& q = linear.problem;
    std::vector<T> v = rounded<T>(normal(size(q, q.up.y.in_size, q.up.x.in_size), 1, 7));
    std::vector<double> want = derivative(q, values(v), mask);
    failures +=
        report(c, &linear.problem.up == &p.up ? "tangent" : "cotangent", element_type<T>(),
               greatest_difference(run(q, threads, v, bias, &mask), want), tolerance<T>() * (1 + greatest(want)));
  }
  return failures;
}

int run() {
  int failures = 0;
  for (const Case& c : kCases) {
    for (int threads : {1, 16}) {
      failures +=
          check<float>(c, threads) + check<double>(c, threads) + check<Half>(c, threads) + check<BFloat16>(c, threads);
    }
  }
  printf("filtered_lrelu on %s: %zu cases, %d failures\n", name(isa()), std::size(kCases), failures);
  return failures != 0;
}

}  // namespace
}  // namespace sg3::testing

int main() { return sg3::testing::run(); }
