// Compares the tensor-core kernel, run on emulated warps, with the definition, over many geometries.

#include "custom_ops/resampling/testing/mma_host.h"

#include <string>

#include "custom_ops/filtered_lrelu/cuda_mma_plan.h"
#include "custom_ops/resampling/testing/cuda_host.h"
#include "custom_ops/resampling/testing/reference.h"

namespace sg3::cuda {
namespace {

using testing::axis;
using testing::resample;

constexpr uint32_t kUnwritten = 0xa5a5a5a5;
// Errors in units of half a step of the type between the passes, before the nonlinearity and in all: a tap may be off
// by a step, which makes two for each filter, and the numbers between two passes are rounded once.
constexpr int kRoundingsOfSamples = 5, kRoundings = 11;

struct Case {
  int64_t up, down, height, width, up_before, up_after, down_before, down_after, channels, batch;
  int mode, type;
  double clamp;
  int64_t shared_bytes;
  double scale;  // of the images

  std::string name() const {
    char text[300];
    snprintf(text, sizeof(text),
             "up %d down %d size %dx%d pad %d,%d then %d,%d C %d N %d mode %d type %d clamp %g scale %g", int(up),
             int(down), int(height), int(width), int(up_before), int(up_after), int(down_before), int(down_after),
             int(channels), int(batch), mode, type, clamp, scale);
    return text;
  }
};

Doubles scaled(Doubles values, double scale) {
  for (double& value : values) value *= scale;
  return values;
}

Doubles magnitudes(Doubles values) {
  for (double& value : values) value = std::fabs(value);
  return values;
}

double unit_of(int type) { return std::exp2(type == SG3_FLOAT16 ? -11 : -8); }

bool is_empty(const Case& c) {
  for (const int64_t size : {c.height, c.width}) {
    const int64_t up_size = axis(size, c.up, 1, c.up_before, c.up_after, 6 * c.up).out_size;
    if (up_size < 1 || axis(up_size, 1, c.down, c.down_before, c.down_after, 6 * c.down).out_size < 1) return true;
  }
  return false;
}

struct Setup {
  OwnedStage up, down;
  Sg3FilteredLrelu problem;
  Tensor x, bias;
  std::vector<uint32_t> mask;

  explicit Setup(const Case& c)
      : up(axis(c.height, c.up, 1, c.up_before, c.up_after, 6 * c.up),
           axis(c.width, c.up, 1, c.up_before, c.up_after, 6 * c.up), 1),
        down(axis(up.get().y.out_size, 1, c.down, c.down_before, c.down_after, 6 * c.down),
             axis(up.get().x.out_size, 1, c.down, c.down_before, c.down_after, 6 * c.down), 1),
        problem{c.batch, c.channels, up.get(), down.get(), 0.2, c.clamp, c.mode},
        x(c.type, scaled(random_normal(c.batch * c.height * c.width * c.channels), c.scale)),
        bias(c.type, random_normal(c.channels)),
        mask(c.batch * chunks() * up_pixels()) {
    for (uint32_t& word : mask) word = c.mode == SG3_APPLY_MASK ? generator()() : kUnwritten;
  }

  int64_t chunks() const { return (problem.channels + 15) / 16; }
  int64_t up_pixels() const { return problem.up.y.out_size * problem.up.x.out_size; }

  // x + bias, or the sum of their magnitudes.
  Doubles biased(bool magnitude = false) {
    Doubles values = x.values(), offset = bias.values();
    if (magnitude) values = magnitudes(values), offset = magnitudes(offset);
    for (size_t i = 0; problem.mode != SG3_APPLY_MASK && i < values.size(); ++i) {
      values[i] += offset[i % problem.channels];
    }
    return values;
  }
};

struct Tally {
  int failures = 0, runs = 0, several_parts = 0;
};

template <class Kernel>
void run_blocks(const MmaPlan& plan, const MmaTaps& taps, Setup* s, Tensor* y) {
  using T = typename Kernel::Element;
  for (int64_t b = 0; b < plan.batch * plan.chunks * plan.y.parts * plan.x.parts; ++b) {
    Shared shared(plan.shared_vectors * 4);
    const typename Kernel::Block block(plan, taps, static_cast<T*>(s->x.data()), static_cast<T*>(s->bias.data()),
                                       static_cast<T*>(y->data()), s->mask.data(), shared.get(), b);
    FiberBlock(kMmaThreads).run([&](FiberLane& lane) { block.run(lane); });
  }
}

// Words that are unwritten, or wrong where rounding cannot decide.
int wrong_words(const Setup& s, const Doubles& z, const Doubles& slack) {
  int wrong = 0;
  for (size_t i = 0; i < s.mask.size(); ++i) {
    const int64_t group = i / s.up_pixels() % s.chunks(), n = i / s.up_pixels() / s.chunks();
    bool right = s.mask[i] != kUnwritten;
    for (int64_t lane = 0; lane < 16; ++lane) {
      const uint32_t bits = s.mask[i] >> lane & 0x10001;
      const int64_t c = group * 16 + lane;
      if (c >= s.problem.channels) {
        right = right && bits == 0;
        continue;
      }
      const size_t at = (n * s.up_pixels() + i % s.up_pixels()) * s.problem.channels + c;
      const double value = z[at], active = std::fabs(value < 0 ? value * s.problem.slope : value);
      if (std::fabs(value) > slack[at]) right = right && (bits & 1) == (value < 0);
      if (std::fabs(active - s.problem.clamp) > slack[at]) right = right && (bits >> 16) == (active >= s.problem.clamp);
    }
    wrong += !right;
  }
  return wrong;
}

void check(const Case& c, Tally* tally) {
  Setup s(c);
  const Sg3FilteredLrelu& p = s.problem;
  Tensor y(c.type, Doubles(c.batch * p.down.y.out_size * p.down.x.out_size * c.channels,
                           std::numeric_limits<double>::quiet_NaN()));
  MmaPlan plan = {};
  bool ran = false;
  with_mma_kernel(p, c.type, [&](auto kernel) {
    using Kernel = decltype(kernel);
    const SharedLimits limits = {c.shared_bytes * 2, c.shared_bytes};
    if (!make_mma_plan<typename Kernel::Block>(p, c.channels % 8 == 0, limits, &plan)) return;  // no room
    const MmaTaps taps = make_mma_taps<Kernel>(p, &plan);
    run_blocks<Kernel>(plan, taps, &s, &y);
    ran = true;
  });
  if (!ran) return;
  ++tally->runs;
  tally->several_parts += plan.x.parts > 1 && plan.y.parts > 1;

  const double stored = unit_of(c.type);
  const double unit = c.mode == SG3_APPLY_MASK ? stored : unit_of(SG3_FLOAT16);
  Doubles z = resample(p.up, c.batch, c.channels, s.biased());
  Doubles slack = resample(p.up, c.batch, c.channels, s.biased(true));
  for (double& value : slack) value *= kRoundingsOfSamples * unit;
  const int wrong = c.mode == SG3_ACTIVATE_AND_MASK ? wrong_words(s, z, slack) : 0;
  for (size_t i = 0; i < z.size(); ++i) {
    const int64_t channel = i % c.channels, pixel = i / c.channels % s.up_pixels(), n = i / c.channels / s.up_pixels();
    if (c.mode == SG3_APPLY_MASK) {
      const uint32_t bits = s.mask[(n * s.chunks() + channel / 16) * s.up_pixels() + pixel] >> channel % 16;
      z[i] *= bits & 0x10000 ? 0 : bits & 1 ? p.slope : 1;
    } else {
      z[i] = std::fmax(-p.clamp, std::fmin(p.clamp, z[i] < 0 ? z[i] * p.slope : z[i]));
    }
  }
  for (double& value : slack) value *= double(kRoundings) / kRoundingsOfSamples;
  const Doubles expected = resample(p.down, c.batch, c.channels, z), actual = y.values();
  Doubles allowed = resample(p.down, c.batch, c.channels, slack);
  for (size_t i = 0; i < allowed.size(); ++i) allowed[i] += stored * std::fabs(expected[i]);
  // Below its normal numbers float16 has a fixed step.
  const double smallest = unit == unit_of(SG3_FLOAT16) ? kRoundings * std::exp2(-25) : 1e-35;
  int outside = 0;
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double share = std::fabs(actual[i] - expected[i]) / (allowed[i] + smallest);
    outside += !(share <= 1);
    worst = std::fmax(worst, std::isnan(share) ? 1e30 : share);
  }
  if (outside == 0 && wrong == 0) return;
  ++tally->failures;
  printf("FAILED: %d of %d outputs outside (%g times the tolerance), %d of %d words wrong, parts %dx%d: %s\n", outside,
         int(expected.size()), worst, wrong, int(s.mask.size()), plan.y.parts, plan.x.parts, c.name().c_str());
}

Case random_case() {
  static const int64_t kFactors[][2] = {{2, 2}, {4, 2}, {2, 4}};
  const auto& factors = kFactors[generator()() % 3];
  Case c = {};
  c.up = factors[0];
  c.down = factors[1];
  c.height = choose({6, 13, 20, 44});
  c.width = choose({7, 12, 23, 40});
  c.up_before = choose({-2, 0, 1, 4, 9, 11});
  c.up_after = choose({-3, 0, 2, 5, 10, 16});
  c.down_before = choose({0, 0, 3, 11});
  c.down_after = choose({0, 0, 2, 11});
  c.channels = choose({3, 16, 24, 37});
  c.batch = choose({1, 1, 2});
  c.mode = int(choose({SG3_ACTIVATE, SG3_ACTIVATE_AND_MASK, SG3_APPLY_MASK}));
  c.type = int(choose({SG3_FLOAT16, SG3_BFLOAT16}));
  c.clamp = generator()() % 4 ? 0.3 : std::numeric_limits<double>::infinity();
  c.shared_bytes = choose({40, 60, 113}) << 10;
  // Gradients of bfloat16 images have any scale.
  c.scale = c.type == SG3_BFLOAT16 && c.mode == SG3_APPLY_MASK ? std::exp2(double(choose({-90, 0, 90}))) : 1;
  return is_empty(c) ? random_case() : c;
}

int run_all(int cases) {
  Tally tally;
  for (int i = 0; i < cases; ++i) check(random_case(), &tally);
  // Images tall enough for several segments, and wide enough for several strips.
  for (const int mode : {SG3_ACTIVATE, SG3_ACTIVATE_AND_MASK, SG3_APPLY_MASK}) {
    check({2, 2, 70, 40, 9, 12, 0, 0, 16, 1, mode, SG3_FLOAT16, 0.3, 60 << 10, 1}, &tally);
  }
  if (tally.runs < cases / 2 || tally.several_parts < 3) ++tally.failures;
  printf("%d cases, %d on tensor cores, %d in several strips and segments, %d failures\n", cases, tally.runs,
         tally.several_parts, tally.failures);
  return tally.failures != 0;
}

}  // namespace
}  // namespace sg3::cuda

int main(int argc, char** argv) { return sg3::cuda::run_all(argc > 1 ? atoi(argv[1]) : 24); }
