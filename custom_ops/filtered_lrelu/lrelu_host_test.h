// Shared parts of the host tests of filtered_lrelu's CUDA kernels: a problem with its tensors, and the definition of
// activation and masks.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_LRELU_HOST_TEST_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_LRELU_HOST_TEST_H_

#include "custom_ops/filtered_lrelu/problem.h"
#include "custom_ops/resampling/testing/cuda_host.h"

namespace sg3::cuda {

constexpr uint32_t kUnwritten = 0xa5a5a5a5;

inline Doubles magnitudes(Doubles values) {
  for (double& value : values) value = std::fabs(value);
  return values;
}

// A problem with all of its tensors. The mask is random if it is applied, and otherwise unwritten.
struct LreluSetup {
  OwnedStage up, down;
  Sg3FilteredLrelu problem;
  Tensor x, bias;
  std::vector<uint32_t> mask;

  // Images are `scale` times normal random numbers.
  LreluSetup(const OwnedStage& up, const OwnedStage& down, int64_t batch, int64_t channels, double clamp, int mode,
             int type, double scale = 1)
      : up(up),
        down(down),
        problem{batch, channels, this->up.get(), this->down.get(), 0.2, clamp, mode},
        x(type, scaled(random_normal(batch * channels * problem.up.y.in_size * problem.up.x.in_size), scale)),
        bias(type, random_normal(channels)),
        mask(batch * chunks() * up_pixels()) {
    for (uint32_t& word : mask) word = mode == SG3_APPLY_MASK ? generator()() : kUnwritten;
  }

  static Doubles scaled(Doubles values, double scale) {
    for (double& value : values) value *= scale;
    return values;
  }

  int64_t chunks() const { return (problem.channels + 15) / 16; }
  int64_t up_pixels() const { return problem.up.y.out_size * problem.up.x.out_size; }
  int64_t outputs() const {
    return problem.batch * problem.down.y.out_size * problem.down.x.out_size * problem.channels;
  }
  // Returns the word of a channel of a pixel, which is numbered across the batch.
  size_t word(int64_t pixel, int64_t channel) const {
    const int64_t n = pixel / up_pixels();
    return (n * chunks() + channel / 16) * up_pixels() + pixel % up_pixels();
  }

  // Returns x + bias, or the sum of their magnitudes.
  Doubles biased(bool magnitude = false) {
    Doubles values = x.values(), offset = bias.values();
    if (magnitude) values = magnitudes(values), offset = magnitudes(offset);
    for (size_t i = 0; problem.mode != SG3_APPLY_MASK && i < values.size(); ++i) {
      values[i] += offset[i % problem.channels];
    }
    return values;
  }

  // Activates z, with the mask or the nonlinearity.
  void activate(Doubles* z) const {
    for (size_t i = 0; i < z->size(); ++i) {
      const int64_t channel = i % problem.channels, pixel = i / problem.channels;
      double& value = (*z)[i];
      if (problem.mode == SG3_APPLY_MASK) {
        const uint32_t bits = mask[word(pixel, channel)] >> channel % 16;
        value *= bits & 0x10000 ? 0 : bits & 1 ? problem.slope : 1;
      } else {
        if (value < 0) value *= problem.slope;
        value = std::fmax(-problem.clamp, std::fmin(problem.clamp, value));
      }
    }
  }

  // Returns the number of words that are unwritten, or wrong where z is farther than `slack` from the limits.
  int wrong_words(const Doubles& z, const Doubles& slack) const {
    int wrong = 0;
    for (size_t i = 0; i < mask.size(); ++i) {
      const int64_t chunk = i / up_pixels() % chunks(), n = i / up_pixels() / chunks();
      bool right = mask[i] != kUnwritten;
      for (int64_t lane = 0; lane < 16; ++lane) {
        const uint32_t bits = mask[i] >> lane & 0x10001;
        const int64_t c = chunk * 16 + lane;
        if (c >= problem.channels) {
          right = right && bits == 0;
          continue;
        }
        const size_t at = (n * up_pixels() + i % up_pixels()) * problem.channels + c;
        const double value = z[at], active = std::fabs(value < 0 ? value * problem.slope : value);
        if (std::fabs(value) > slack[at]) right = right && (bits & 1) == (value < 0);
        if (std::fabs(active - problem.clamp) > slack[at]) right = right && (bits >> 16) == (active >= problem.clamp);
      }
      wrong += !right;
    }
    return wrong;
  }
};

// The mask of SG3_ACTIVATE_AND_MASK while one block writes it: unwritten at first, with room before and behind.
class BlockMask {
 public:
  explicit BlockMask(size_t size) : words_(size + 2 * kRoom, kUnwritten) {}

  uint32_t* data() { return words_.data() + kRoom; }

  // Moves the block's words to the mask. Returns the number of those outside, and of those that were there already.
  int move_to(std::vector<uint32_t>* mask) {
    int misplaced = 0;
    for (size_t i = 0; i < words_.size(); ++i) {
      if (words_[i] == kUnwritten) continue;
      const bool inside = i >= kRoom && i - kRoom < mask->size();
      misplaced += !inside || (*mask)[i - kRoom] != kUnwritten;
      if (inside) (*mask)[i - kRoom] = words_[i];
      words_[i] = kUnwritten;
    }
    return misplaced;
  }

 private:
  static constexpr size_t kRoom = 4096;
  std::vector<uint32_t> words_;
};

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_LRELU_HOST_TEST_H_
