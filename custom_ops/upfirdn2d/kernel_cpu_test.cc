// The CPU kernel, compared with the definition. SG3TF_ISA selects the instruction set.

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "custom_ops/resampling/testing/reference.h"
#include "custom_ops/resampling/testing/values.h"
#include "custom_ops/upfirdn2d/cpu.h"

namespace sg3::testing {
namespace {

struct Case {
  int64_t batch, height, width, channels;
  int64_t up[2], down[2], pad[4], taps[2], terms;  // (y, x); (top, bottom, left, right)
};

const Case kCases[] = {
    {1, 7, 9, 16, {1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}, 1},    // a copy
    {2, 9, 8, 3, {2, 2}, {1, 1}, {6, 5, 6, 5}, {12, 12}, 1},   //
    {1, 16, 70, 37, {1, 1}, {2, 2}, {1, 2, 2, 1}, {4, 4}, 1},  // several tiles, channels in three blocks
    {1, 12, 11, 64, {4, 4}, {1, 1}, {11, 12, 12, 12}, {24, 24}, 1},
    {1, 21, 13, 5, {2, 3}, {3, 2}, {4, -2, -3, 7}, {5, 7}, 2},   // different on the two axes
    {1, 30, 30, 17, {1, 1}, {2, 2}, {5, 5, 5, 5}, {12, 12}, 4},  // like a radial filter
    {1, 5, 5, 2, {3, 3}, {1, 1}, {0, 0, 0, 0}, {2, 2}, 1},       // fewer taps than phases
    {1, 6, 6, 1, {1, 1}, {5, 5}, {0, 3, 9, 0}, {3, 3}, 1},       // samples that no output reads
    {1, 4, 4, 16, {2, 2}, {2, 2}, {20, 3, 3, 20}, {4, 4}, 1},    // outputs that read only padding
    {1, 90, 40, 16, {1, 1}, {1, 1}, {-80, 0, 0, -33}, {3, 3}, 1},
    {0, 4, 4, 16, {2, 2}, {1, 1}, {1, 1, 1, 1}, {2, 2}, 1},  // an empty batch
};

template <class T>
int check(const Case& c, int threads) {
  std::vector<double> taps_y = normal(c.terms * c.taps[0], 0.3, 1), taps_x = normal(c.terms * c.taps[1], 0.3, 2);
  Sg3Stage stage = {axis(c.height, c.up[0], c.down[0], c.pad[0], c.pad[1], c.taps[0]),
                    axis(c.width, c.up[1], c.down[1], c.pad[2], c.pad[3], c.taps[1]), c.terms, taps_y.data(),
                    taps_x.data()};
  std::vector<T> x = rounded<T>(normal(c.batch * c.height * c.width * c.channels, 1, 3));
  std::vector<double> expected = resample(stage, c.batch, c.channels, values(x));
  // A guard sample at either end shows whether anything is written there.
  std::vector<T> padded(expected.size() + 2, sentinel<T>());
  Upfirdn2dCpu cpu({c.batch, c.channels, stage}, element_type<T>(), threads);
  for (int64_t tile = cpu.tiles() - 1; tile >= 0; --tile) cpu.run(tile, tile + 1, {x.data(), padded.data() + 1});

  std::vector<double> all = values(padded);
  std::vector<double> actual(all.begin() + 1, all.end() - 1);
  double error = greatest_difference(actual, expected), bound = tolerance<T>() * (1 + greatest(expected));
  if (error <= bound && all.front() == value(sentinel<T>()) && all.back() == all.front()) return 0;
  printf("upfirdn2d case %td type %d threads %d: off by %g, allowed %g\n", &c - kCases, element_type<T>(), threads,
         error, bound);
  return 1;
}

int run() {
  int failures = 0;
  for (const Case& c : kCases) {
    for (int threads : {1, 16}) {
      failures +=
          check<float>(c, threads) + check<double>(c, threads) + check<Half>(c, threads) + check<BFloat16>(c, threads);
    }
  }
  printf("upfirdn2d on %s: %zu cases, %d failures\n", name(isa()), std::size(kCases), failures);
  return failures != 0;
}

}  // namespace
}  // namespace sg3::testing

int main() { return sg3::testing::run(); }
