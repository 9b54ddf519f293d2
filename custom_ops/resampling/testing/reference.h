// The definition of a resampling in double precision, for tests.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_TESTING_REFERENCE_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_TESTING_REFERENCE_H_

#include <random>
#include <vector>

#include "custom_ops/resampling/stage.h"

namespace sg3::testing {

// Returns the number of outputs of an axis whose input is padded by `before` and `after`.
inline int64_t out_size(int64_t in_size, int64_t up, int64_t down, int64_t before, int64_t after, int64_t taps) {
  int64_t span = in_size * up + before + after - taps;
  return span < 0 ? 0 : span / down + 1;
}

inline Sg3Axis axis(int64_t in_size, int64_t up, int64_t down, int64_t before, int64_t after, int64_t taps) {
  return {up, down, before, taps, in_size, out_size(in_size, up, down, before, after, taps)};
}

// Returns the axis of the transposed map, whose taps are reversed.
inline Sg3Axis adjoint(const Sg3Axis& a) {
  return {a.down, a.up, a.taps - 1 - a.before, a.taps, a.out_size, a.in_size};
}

// Maps [batch, y.in_size, x.in_size, channels] to [batch, y.out_size, x.out_size, channels].
inline std::vector<double> resample(const Sg3Stage& s, int64_t batch, int64_t channels, const std::vector<double>& in) {
  std::vector<double> out(batch * s.y.out_size * s.x.out_size * channels);
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t oy = 0; oy < s.y.out_size; ++oy)
      for (int64_t ox = 0; ox < s.x.out_size; ++ox)
        for (int64_t ky = 0; ky < s.y.taps; ++ky)
          for (int64_t kx = 0; kx < s.x.taps; ++kx) {
            int64_t y = oy * s.y.down + ky - s.y.before, x = ox * s.x.down + kx - s.x.before;
            if (y % s.y.up != 0 || x % s.x.up != 0) continue;
            y /= s.y.up, x /= s.x.up;
            if (y < 0 || y >= s.y.in_size || x < 0 || x >= s.x.in_size) continue;
            double tap = 0;
            for (int64_t r = 0; r < s.terms; ++r) tap += s.taps_y[r * s.y.taps + ky] * s.taps_x[r * s.x.taps + kx];
            for (int64_t c = 0; c < channels; ++c)
              out[((n * s.y.out_size + oy) * s.x.out_size + ox) * channels + c] +=
                  tap * in[((n * s.y.in_size + y) * s.x.in_size + x) * channels + c];
          }
  return out;
}

// Returns numbers from a normal distribution, the same in every run.
inline std::vector<double> normal(int64_t count, double deviation, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> draw(0, deviation);
  std::vector<double> values(count);
  for (double& value : values) value = draw(engine);
  return values;
}

}  // namespace sg3::testing

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_TESTING_REFERENCE_H_
