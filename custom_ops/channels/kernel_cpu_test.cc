// The CPU kernels, compared with the definitions. SG3TF_ISA selects the instruction set.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <type_traits>

#include "custom_ops/channels/cpu.h"
#include "custom_ops/resampling/testing/reference.h"
#include "custom_ops/resampling/testing/values.h"

namespace sg3::testing {
namespace {

const ImageBatch kShapes[] = {
    {2, 5, 7, 0},    {3, 40, 3, 0},  // tiles of several rows, some of which span two images
    {1, 1, 9, 0},                    // one row
    {1, 3, 300, 0},                  // many numbers per row
    {1, 2000, 1, 0},                 // many rows, whose sums must be float64
    {0, 4, 4, 0},                    // an empty batch
};
const int64_t kChannels[] = {1, 3, 16, 17, 32, 64, 65, 181};
const int kThreads[] = {1, 2, 5, 16};

template <class T>
using ScalarOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

// Numbers with mean one, so that little cancels. The heap block has exactly their size, so AddressSanitizer reports
// reads beyond it.
template <class T>
std::vector<T> numbers(int64_t count, int seed) {
  std::vector<double> exact = normal(count, 1, seed);
  for (double& x : exact) x += 1;
  std::vector<T> some = rounded<T>(exact);
  return std::vector<T>(some.begin(), some.end());
}

// The results of an operation, between two guard values that it must not change.
template <class T>
class Guarded {
 public:
  explicit Guarded(const std::vector<T>& content) : all_(content.size() + 2, sentinel<T>()) {
    std::copy(content.begin(), content.end(), all_.begin() + 1);
  }

  T* data() { return all_.data() + 1; }
  std::vector<double> content() const {
    std::vector<double> all = values(all_);
    return {all.begin() + 1, all.end() - 1};
  }
  bool is_intact() const {
    return value(all_.front()) == value(sentinel<T>()) && value(all_.back()) == value(sentinel<T>());
  }
  bool has_the_bits_of(const Guarded& other) const {
    return std::memcmp(all_.data(), other.all_.data(), all_.size() * sizeof(T)) == 0;
  }

 private:
  std::vector<T> all_;
};

template <class Cpu>
void run_backward(const Cpu& cpu, const typename Cpu::Arrays& arrays) {
  for (int64_t tile = cpu.tiles() - 1; tile >= 0; --tile) cpu.run(tile, tile + 1, arrays);
}

int report(const char* name, const ImageBatch& images, Sg3Type type, const char* problem) {
  printf("%s of [%lld, %lld, %lld, %lld], type %d: %s\n", name, static_cast<long long>(images.batch),
         static_cast<long long>(images.height), static_cast<long long>(images.width),
         static_cast<long long>(images.channels), type, problem);
  return 1;
}

int64_t count(const ImageBatch& images) { return images.batch * images.height * images.width * images.channels; }

template <class T>
int check_scale(const ImageBatch& images) {
  const std::vector<T> x = numbers<T>(count(images), 1);
  const auto factors = numbers<ScalarOf<T>>(images.batch * images.channels, 2);
  std::vector<double> expected;
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t image = static_cast<int64_t>(i) / (images.height * images.width * images.channels);
    // Exact in float64 unless T is double; then rounded to float32 and to T.
    const double product = value(x[i]) * value(factors[image * images.channels + i % images.channels]);
    expected.push_back(value(rounded_to(product, T())));
  }
  for (int threads : kThreads) {
    for (bool in_place : {false, true}) {
      Guarded<T> y(in_place ? x : std::vector<T>(x.size(), sentinel<T>()));
      run_backward(ScaleChannelsCpu(images, element_type<T>(), threads),
                   {in_place ? y.data() : x.data(), factors.data(), y.data()});
      if (y.content() != expected) return report("scale_channels", images, element_type<T>(), "not the products");
      if (!y.is_intact()) return report("scale_channels", images, element_type<T>(), "written beyond an end");
    }
  }
  return 0;
}

template <class T>
int check_sum(const ImageBatch& images, bool has_products) {
  using Scalar = ScalarOf<T>;
  const char* name = has_products ? "sum_pixels of products" : "sum_pixels";
  const std::vector<T> x = numbers<T>(count(images), 3), y = numbers<T>(count(images), 4);
  const size_t size = images.batch * images.channels;
  std::vector<long double> exact(size), magnitude(size);
  for (size_t i = 0; i < x.size(); ++i) {
    const int64_t image = static_cast<int64_t>(i) / (images.height * images.width * images.channels);
    const long double term = static_cast<long double>(value(x[i])) * (has_products ? value(y[i]) : 1);
    exact[image * images.channels + i % images.channels] += term;
    magnitude[image * images.channels + i % images.channels] += std::fabs(term);
  }
  // Products and additions within a row are rounded to Scalar, additions of rows to float64, and the sum to Scalar
  // again. To first order, the error is at most this share of the sum of magnitudes.
  const int64_t roundings = 1 + images.width + 1;
  const double share = 1.01 * (static_cast<double>(roundings) * std::numeric_limits<Scalar>::epsilon() / 2 +
                               static_cast<double>(images.height) * std::numeric_limits<double>::epsilon() / 2);
  const Guarded<Scalar> nothing(std::vector<Scalar>(size, sentinel<Scalar>()));
  Guarded<Scalar> first = nothing;
  for (int threads : kThreads) {
    Guarded<Scalar> sums = nothing;
    run_backward(SumPixelsCpu(images, element_type<T>(), threads),
                 {x.data(), has_products ? y.data() : nullptr, sums.data()});
    const std::vector<double> actual = sums.content();
    for (size_t i = 0; i < size; ++i) {
      // Written so that NaNs fail.
      if (!(std::fabs(actual[i] - exact[i]) <= share * magnitude[i])) {
        printf("%g instead of %Lg, allowed %Lg: ", actual[i], exact[i], share * magnitude[i]);
        return report(name, images, element_type<T>(), "beyond rounding");
      }
    }
    if (!sums.is_intact()) return report(name, images, element_type<T>(), "written beyond an end");
    if (threads == kThreads[0]) first = sums;
    if (!sums.has_the_bits_of(first)) return report(name, images, element_type<T>(), "depends on threads");
  }
  return 0;
}

template <class T>
int check(const ImageBatch& images) {
  return check_scale<T>(images) + check_sum<T>(images, false) + check_sum<T>(images, true);
}

// The sums of an image do not depend on the other images in the batch.
int check_alone(int64_t channels) {
  const ImageBatch batch = {3, 6, 5, channels}, one = {1, 6, 5, channels};
  const auto x = numbers<BFloat16>(count(batch), 5);
  std::vector<float> all(batch.batch * channels), alone(channels);
  run_backward(SumPixelsCpu(batch, SG3_BFLOAT16, 1), {x.data(), nullptr, all.data()});
  for (int64_t i = 0; i < batch.batch; ++i) {
    run_backward(SumPixelsCpu(one, SG3_BFLOAT16, 7), {x.data() + i * count(one), nullptr, alone.data()});
    if (std::memcmp(alone.data(), all.data() + i * channels, channels * sizeof(float)) != 0) {
      return report("sum_pixels", batch, SG3_BFLOAT16, "depends on the batch");
    }
  }
  return 0;
}

int run() {
  int cases = 0, failures = 0;
  for (int64_t channels : kChannels) {
    for (ImageBatch images : kShapes) {
      images.channels = channels;
      failures += check<float>(images) + check<double>(images) + check<Half>(images) + check<BFloat16>(images);
      ++cases;
    }
    failures += check_alone(channels);
  }
  printf("channels on %s: %d cases, %d failures\n", name(isa()), cases, failures);
  return failures != 0;
}

}  // namespace
}  // namespace sg3::testing

int main() { return sg3::testing::run(); }
