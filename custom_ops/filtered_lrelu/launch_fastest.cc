// The launcher of filtered_lrelu that uses tensor cores if they are right and fast on this card. Their kernel for a
// type, a kind of filters, a mode and an alignment of pixels is first compared with the other kernel on fixed numbers,
// once per process and context. If the results differ by more than rounding, it takes much longer, or a launch is
// refused, it is not used and a line on stderr says so. If memory for a trial is short, the next launch tries once
// more. SG3TF_TENSOR_CORES=0 never uses it, and 1 uses it without a trial, so that all processes use the same kernels.

#include <stdlib.h>

#include <cmath>
#include <cstdio>
#include <map>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

#include "custom_ops/filtered_lrelu/mma_variant.h"
#include "custom_ops/jit/trial.h"
#include "custom_ops/resampling/cuda/launch.h"

namespace sg3::cuda {
namespace {

constexpr int64_t kTrialBatch = 8, kTrialChannels = 512, kTrialSize = 40;
constexpr double kTrialBias = 0.25;      // the largest, relative to the largest input
constexpr double kLargestInput = 256;    // if the clamp is larger; far below the largest float16 number
constexpr double kTrialSlowdown = 1.25;  // allowance: a small trial may show no gain where large layers gain
constexpr int kMostFailures = 2;         // for lack of memory, before the kernel is given up
constexpr int kTimings = 2;              // the kernel is too slow if it is in all of them
// Errors of both kernels: 11 half steps of the numbers between the passes (kernel_mma_host_test.cc), and the outputs.
constexpr double kInnerRoundings = 11, kOutputRoundings = 2;
// Mask bits may differ where a sample is within rounding of a threshold: on either side, 5 half steps of float16 of at
// most the largest sample. Samples are spread over at least a quarter of that range, so these are 2 %.
constexpr double kWrongBits = 1. / 32;

// Fixed numbers, spread like random ones.
uint32_t scrambled(uint32_t index) {
  index = (index ^ index >> 16) * 0x7feb352du;
  index = (index ^ index >> 15) * 0x846ca68bu;
  return index ^ index >> 16;
}

template <class T>
std::vector<T> fixed_numbers(int64_t count, double largest) {
  std::vector<T> result(count);
  for (int64_t i = 0; i < count; ++i) {
    from_float(float(largest * (scrambled(uint32_t(i)) / 2147483648. - 1)), &result[i]);
  }
  return result;
}

// Returns the largest output for inputs of magnitude 1.
double largest_gain(const Sg3Stage& stage) {
  double largest = 0;
  for (int64_t phase = 0; phase < stage.y.up * stage.x.up; ++phase) {
    double total = 0;
    for (int64_t y = phase / stage.x.up; y < stage.y.taps; y += stage.y.up) {
      for (int64_t x = phase % stage.x.up; x < stage.x.taps; x += stage.x.up) {
        double tap = 0;
        for (int64_t r = 0; r < stage.terms; ++r) {
          tap += stage.taps_y[r * stage.y.taps + y] * stage.taps_x[r * stage.x.taps + x];
        }
        total += std::fabs(tap);
      }
    }
    largest = std::max(largest, total);
  }
  return largest;
}

// Returns a small problem with the same filters, clamp and alignment of pixels, in which an output reads every sample.
// Padding beyond a filter, and crops, are reduced to their phase.
Sg3FilteredLrelu trial_problem(Sg3FilteredLrelu p, int aligned) {
  p.batch = kTrialBatch;
  p.channels = kTrialChannels - (aligned == 8 ? 0 : aligned == 2 ? 6 : 7);
  for (auto [up, down] : {std::pair(&p.up.y, &p.down.y), std::pair(&p.up.x, &p.down.x)}) {
    for (Sg3Axis* axis : {up, down}) {
      if (axis->before < 0 || axis->before >= axis->taps) axis->before = modulo(axis->before, 4);
    }
    up->in_size = kTrialSize;
    up->out_size = down->in_size = kTrialSize * up->up / down->down * down->down;
    down->out_size = (down->in_size + 2 * down->before - down->taps) / down->down + 1;
  }
  return p;
}

// Tries both kernels; returns the reason why tensor cores are not used, or an empty string.
template <class T>
std::string try_tensor_cores(jit::Trial* trial, const Sg3FilteredLrelu& problem, int type, int aligned, void* stream) {
  const Sg3FilteredLrelu p = trial_problem(problem, aligned);
  const int64_t inputs = p.batch * p.up.y.in_size * p.up.x.in_size * p.channels;
  const int64_t outputs = p.batch * p.down.y.out_size * p.down.x.out_size * p.channels;
  const int64_t words = p.batch * (kTrialChannels / SG3_MASK_CHANNELS) * p.up.y.out_size * p.up.x.out_size;
  std::vector<uint32_t> masks[2];
  for (auto& mask : masks) mask.resize(words);
  for (int64_t i = 0; i < words; ++i) masks[0][i] = masks[1][i] = scrambled(uint32_t(i));
  // As large as the clamp, so that some samples are clamped.
  const bool clamps = p.mode != SG3_APPLY_MASK && std::isfinite(p.clamp);
  const double largest = clamps ? std::fmin(p.clamp, kLargestInput) : 1;
  const void* x = trial->allocate(inputs * sizeof(T), fixed_numbers<T>(inputs, largest).data());
  const void* bias = trial->allocate(p.channels * sizeof(T), fixed_numbers<T>(p.channels, largest * kTrialBias).data());
  std::vector<T> results[2];
  double times[2];
  void *y[2], *mask[2];
  for (int i = 0; i < 2; ++i) {
    y[i] = trial->allocate(outputs * sizeof(T));
    mask[i] = trial->allocate(words * sizeof(uint32_t), masks[i].data());
  }
  bool is_slow = true;
  for (int timing = 0; timing < kTimings && is_slow; ++timing) {
    for (int i = 0; i < 2; ++i) {
      const auto kernel = i == 0 ? sg3_cuda_filtered_lrelu : sg3_cuda_filtered_lrelu_mma;
      times[i] = trial->milliseconds([&] { return kernel(&p, type, x, bias, y[i], mask[i], stream); });
    }
    is_slow = times[1] > kTrialSlowdown * times[0];
  }
  for (int i = 0; i < 2; ++i) {
    results[i].resize(outputs);
    trial->read(y[i], outputs * sizeof(T), results[i].data());
    trial->read(mask[i], words * sizeof(uint32_t), masks[i].data());
  }
  if (!trial->failure().empty()) return "it cannot be tried: " + trial->failure();

  const double stored = type == SG3_FLOAT16 ? std::exp2(-11) : std::exp2(-8);
  const double inner = p.mode == SG3_APPLY_MASK ? stored : std::exp2(-11);
  const double allowed = (kInnerRoundings * inner + kOutputRoundings * stored) * largest * (1 + kTrialBias) *
                         largest_gain(p.up) * largest_gain(p.down);
  double worst = 0;
  for (int64_t i = 0; i < outputs; ++i) {
    const double difference = std::fabs(to_float(results[0][i]) - to_float(results[1][i]));
    worst = std::isnan(difference) ? INFINITY : std::fmax(worst, difference);
  }
  if (!(worst <= allowed)) {
    return "its result differs by " + std::to_string(worst) + ", and rounding explains " + std::to_string(allowed);
  }
  int64_t wrong = 0;
  for (int64_t i = 0; i < words; ++i) wrong += __builtin_popcount(masks[0][i] ^ masks[1][i]);
  if (double(wrong) > kWrongBits * double(words) * SG3_MASK_CHANNELS) {
    return "its mask differs in " + std::to_string(wrong) + " bits of " + std::to_string(words) + " words";
  }
  if (is_slow) {
    return "it takes " + std::to_string(times[1]) + " ms, and the other kernel " + std::to_string(times[0]);
  }
  return "";
}

// The kernels that have been tried, by context, program and alignment.
class Verdicts {
 public:
  bool uses_tensor_cores(const Sg3FilteredLrelu& problem, int type, int aligned, void* stream) {
    const std::string kernel = kernel_of(problem, type);
    if (kernel.empty()) return false;
    jit::Trial trial(stream);
    const Key key = {trial.context(), kernel, aligned};
    if (const bool* found = find(key)) return *found;
    if (setting_) return *setting_ == '1';
    bool can_run = false;
    with_mma_kernel(problem, type, [&](auto k) {
      MmaPlan plan;
      can_run = are_finite<decltype(k)>(make_mma_taps<decltype(k)>(problem, &plan));
    });
    if (!can_run) return false;
    // One at a time for each context, because others would disturb the times. A trial waits for its stream, which may
    // wait for launches of other threads on other GPUs.
    const std::lock_guard<std::mutex> trying(trying_in(trial.context()));
    if (const bool* found = find(key)) return *found;
    const std::string reason = type == SG3_FLOAT16 ? try_tensor_cores<Half>(&trial, problem, type, aligned, stream)
                                                   : try_tensor_cores<BFloat16>(&trial, problem, type, aligned, stream);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (trial.out_of_memory() && ++failures_[key] < kMostFailures) return false;
    if (!reason.empty()) report(kernel, reason);
    return verdicts_[key] = reason.empty();
  }

  // Stops using the kernel of a problem, after the driver has refused to launch it.
  void give_up(const Sg3FilteredLrelu& problem, int type, int aligned, void* stream, int error) {
    const std::string kernel = kernel_of(problem, type);
    const Key key = {jit::Trial(stream).context(), kernel, aligned};
    const std::lock_guard<std::mutex> lock(mutex_);
    report(kernel, "its launch returned " + std::to_string(error));
    verdicts_[key] = false;
  }

 private:
  using Key = std::tuple<jit::Context, std::string, int>;

  // Returns the text of the kernel of a problem, or an empty string.
  static std::string kernel_of(const Sg3FilteredLrelu& problem, int type) {
    std::string kernel;
    with_mma_kernel(problem, type, [&](auto k) { kernel = mma_block_text(k); });
    return kernel;
  }

  static void report(const std::string& kernel, const std::string& reason) {
    fprintf(stderr, "sg3tf: filtered_lrelu does without tensor cores (%s) on this GPU: %s\n", kernel.c_str(),
            reason.c_str());
  }

  // Returns "0", "1" or null.
  static const char* find_setting() {
    const char* setting = getenv("SG3TF_TENSOR_CORES");
    return setting && (setting == std::string("0") || setting == std::string("1")) ? setting : nullptr;
  }

  // Returns the verdict, or null.
  const bool* find(const Key& key) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = verdicts_.find(key);
    return found == verdicts_.end() ? nullptr : &found->second;
  }

  std::mutex& trying_in(jit::Context context) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return trying_[context];
  }

  const char* const setting_ = find_setting();
  std::mutex mutex_;
  std::map<jit::Context, std::mutex> trying_;
  std::map<Key, bool> verdicts_;
  std::map<Key, int> failures_;
};

}  // namespace
}  // namespace sg3::cuda

extern "C" int sg3_cuda_filtered_lrelu_fastest(const Sg3FilteredLrelu* problem, int type, const void* x,
                                               const void* bias, void* y, void* mask, void* stream) {
  using namespace sg3::cuda;
  static Verdicts& verdicts = *new Verdicts;  // never destroyed: other threads may launch while the process exits
  const int aligned = mma_alignment(problem->channels, x, y);
  if (has_tensor_cores(stream) && verdicts.uses_tensor_cores(*problem, type, aligned, stream)) {
    const int error = sg3_cuda_filtered_lrelu_mma(problem, type, x, bias, y, mask, stream);
    if (error == sg3::jit::kInvalidValue || error == sg3::jit::kOutOfResources) {
      verdicts.give_up(*problem, type, aligned, stream, error);
    } else if (error != kNotSupported) {
      return error;
    }
  }
  return sg3_cuda_filtered_lrelu(problem, type, x, bias, y, mask, stream);
}
