// What the host tests of the CUDA kernels share: tensors of the three types, random stages, a direct double-precision
// resampling, and the running of a block's phases by one thread after the other.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_HOST_TEST_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_HOST_TEST_H_

#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <random>
#include <vector>

#include "custom_ops/resampling/cuda_limits.h"
#include "custom_ops/resampling/cuda_tile.h"

namespace sg3::cuda {

using Doubles = std::vector<double>;

inline std::mt19937& generator() {
  static std::mt19937 engine(1);
  return engine;
}

inline int64_t choose(std::initializer_list<int64_t> values) { return values.begin()[generator()() % values.size()]; }

inline Doubles random_normal(size_t size) {
  std::normal_distribution<double> normal;
  Doubles values(size);
  for (double& value : values) value = normal(generator());
  return values;
}

// Elements of `type`, each of its own heap block's exact size, so that the address sanitizer sees any step beyond.
class Tensor {
 public:
  Tensor(int type, const Doubles& values)
      : type_(type), values_(values.size()), bytes_(values.size() * bytes_of(type)) {
    for (size_t i = 0; i < values.size(); ++i) {
      with_type(type, [&](auto zero) { from_float(float(values[i]), &at<decltype(zero)>(i)); });
    }
  }

  void* data() { return bytes_.data(); }

  Doubles values() {
    Doubles result(values_);
    for (size_t i = 0; i < result.size(); ++i) {
      with_type(type_, [&](auto zero) { result[i] = to_float(at<decltype(zero)>(i)); });
    }
    return result;
  }

 private:
  template <class T>
  T& at(size_t i) {
    return reinterpret_cast<T*>(bytes_.data())[i];
  }

  int type_;
  size_t values_;
  std::vector<char> bytes_;
};

// A stage and the taps that it points to.
class OwnedStage {
 public:
  OwnedStage(Sg3Axis y, Sg3Axis x, int64_t terms)
      : taps_y_(random_normal(y.taps * terms)), taps_x_(random_normal(x.taps * terms)) {
    // Positive ones: where terms cancel, rounding alone would fail the comparison.
    for (double& tap : taps_y_) tap = (0.2 + std::fabs(tap)) / double(y.taps);
    for (double& tap : taps_x_) tap = (0.2 + std::fabs(tap)) / double(x.taps);
    stage_ = {y, x, terms, nullptr, nullptr};
  }

  Sg3Stage get() const {
    Sg3Stage stage = stage_;
    stage.taps_y = taps_y_.data();
    stage.taps_x = taps_x_.data();
    return stage;
  }

 private:
  Sg3Stage stage_;
  Doubles taps_y_, taps_x_;
};

// The input that tap k of output o meets, or -1.
inline int64_t source(const Sg3Axis& axis, int64_t o, int64_t k) {
  const int64_t position = o * axis.down + k - axis.before;
  if (position < 0 || position % axis.up != 0 || position / axis.up >= axis.in_size) return -1;
  return position / axis.up;
}

// The definition of stage.h, of images [batch, height, width, channels].
inline Doubles resample_directly(const Sg3Stage& stage, int64_t batch, int64_t channels, const Doubles& x) {
  const Sg3Axis &ay = stage.y, &ax = stage.x;
  Doubles y(batch * ay.out_size * ax.out_size * channels);
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t oy = 0; oy < ay.out_size; ++oy)
      for (int64_t ox = 0; ox < ax.out_size; ++ox)
        for (int64_t ky = 0; ky < ay.taps; ++ky)
          for (int64_t kx = 0; kx < ax.taps; ++kx) {
            const int64_t iy = source(ay, oy, ky), ix = source(ax, ox, kx);
            if (iy < 0 || ix < 0) continue;
            double tap = 0;
            for (int64_t r = 0; r < stage.terms; ++r)
              tap += stage.taps_y[r * ay.taps + ky] * stage.taps_x[r * ax.taps + kx];
            const double* from = &x[((n * ay.in_size + iy) * ax.in_size + ix) * channels];
            double* to = &y[((n * ay.out_size + oy) * ax.out_size + ox) * channels];
            for (int64_t c = 0; c < channels; ++c) to[c] += tap * from[c];
          }
  return y;
}

// The largest difference relative to the largest expected magnitude; not-a-numbers are infinitely wrong.
inline double relative_error(const Doubles& actual, const Doubles& expected) {
  double error = 0, scale = 1e-30;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::fabs(actual[i] - expected[i]);
    error = std::fmax(error, std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference);
    scale = std::fmax(scale, std::fabs(expected[i]));
  }
  return error / scale;
}

inline double tolerance(int type) { return type == SG3_FLOAT32 ? 1e-5 : type == SG3_FLOAT16 ? 6e-4 : 5e-3; }

// Runs phase after phase, each by all workers in turn, forwards or backwards: within a phase, no order may matter.
struct Serially {
  int threads;

  template <class Phase>
  void operator()(Phase phase) const {
    const bool forwards = generator()() % 2;
    for (int i = 0; i < threads; ++i) phase(Worker{forwards ? i : threads - 1 - i, threads});
  }
};

// Shared memory as a block finds it: full of rubbish, and aligned.
class Shared {
 public:
  explicit Shared(int64_t floats) : floats_(new (std::align_val_t(16)) float[floats]) {
    for (int64_t i = 0; i < floats; ++i) floats_[i] = std::numeric_limits<float>::quiet_NaN();
  }
  ~Shared() { operator delete[](floats_, std::align_val_t(16)); }
  Shared(const Shared&) = delete;
  float* get() { return floats_; }

 private:
  float* floats_;
};

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_HOST_TEST_H_
