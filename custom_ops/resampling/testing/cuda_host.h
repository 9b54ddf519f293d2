// Shared parts of the host tests of the CUDA kernels: tensors of the three types, random stages, and a runner that
// executes a block's phases on one thread after the other.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_TESTING_CUDA_HOST_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_TESTING_CUDA_HOST_H_

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <random>
#include <vector>

#include "custom_ops/resampling/cuda/plan.h"
#include "custom_ops/resampling/cuda/tile.h"
#include "custom_ops/resampling/testing/reference.h"

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

// Elements of `type` in a heap block of exactly their size, so that AddressSanitizer reports any access beyond it.
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

// A stage that owns its taps.
class OwnedStage {
 public:
  OwnedStage(Sg3Axis y, Sg3Axis x, int64_t terms)
      : taps_y_(random_normal(y.taps * terms)), taps_x_(random_normal(x.taps * terms)) {
    // Positive, because where terms cancel, rounding alone would fail the comparison.
    for (double& tap : taps_y_) tap = (0.2 + std::fabs(tap)) / double(y.taps);
    for (double& tap : taps_x_) tap = (0.2 + std::fabs(tap)) / double(x.taps);
    stage_ = {y, x, terms, nullptr, nullptr};
  }

  // Makes the horizontal filters even.
  void make_even() {
    const int64_t taps = stage_.x.taps;
    for (size_t i = 0; i < taps_x_.size(); ++i)
      taps_x_[i] = taps_x_[i - i % taps + std::min(i % taps, taps - 1 - i % taps)];
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

// Returns the largest difference relative to the largest expected magnitude; infinity if there are NaNs.
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

// Runs each phase on all workers in turn, in forward or reverse order: within a phase, the order must not matter.
struct SerialPhases {
  int threads;

  template <class Phase>
  void operator()(Phase phase) const {
    const bool forwards = generator()() % 2;
    for (int i = 0; i < threads; ++i) phase(Worker{forwards ? i : threads - 1 - i, threads});
  }
};

// Shared memory at the start of a block: aligned, and filled with NaNs.
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

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_TESTING_CUDA_HOST_H_
