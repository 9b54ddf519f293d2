// Compares the tensor-core kernel, run on emulated warps, with the definition, over many geometries.

#include "custom_ops/resampling/testing/mma_host.h"

#include <string>

#include "custom_ops/filtered_lrelu/cuda_mma_plan.h"
#include "custom_ops/filtered_lrelu/lrelu_host_test.h"
#include "custom_ops/resampling/testing/cuda_host.h"
#include "custom_ops/resampling/testing/reference.h"

namespace sg3::cuda {
namespace {

using testing::axis;
using testing::resample;

constexpr int kMultiprocessors = 16;
// Errors in units of half a step of the type between the passes, before the nonlinearity and in total: a tap may be off
// by a step, which makes two for each filter, and the numbers between two passes are rounded once.
constexpr int kRoundingsOfSamples = 5, kRoundings = 11;

struct Case {
  int64_t up, down, height, width, up_before, up_after, down_before, down_after, channels, batch;
  int mode, type;
  double clamp;
  int64_t shared_bytes;
  double scale;              // of the images
  int up_terms, down_terms;  // of the filters; several make a radial one

  std::string name() const {
    char text[300];
    snprintf(text, sizeof(text),
             "up %d down %d size %dx%d pad %d,%d then %d,%d C %d N %d mode %d type %d clamp %g scale %g terms %d, %d",
             int(up), int(down), int(height), int(width), int(up_before), int(up_after), int(down_before),
             int(down_after), int(channels), int(batch), mode, type, clamp, scale, up_terms, down_terms);
    return text;
  }
};

double unit_of(int type) { return std::exp2(type == SG3_FLOAT16 ? -11 : -8); }

double stored_value(int type, double value) { return Tensor(type, {value}).values()[0]; }

bool is_empty(const Case& c) {
  for (const int64_t size : {c.height, c.width}) {
    const int64_t up_size = axis(size, c.up, 1, c.up_before, c.up_after, 6 * c.up).out_size;
    if (up_size < 1 || axis(up_size, 1, c.down, c.down_before, c.down_after, 6 * c.down).out_size < 1) return true;
  }
  return false;
}

struct Setup : LreluSetup {
  explicit Setup(const Case& c)
      : LreluSetup(make_up(c), make_down(c), c.batch, c.channels, c.clamp, c.mode, c.type, c.scale) {}

  static OwnedStage make_up(const Case& c) {
    return {axis(c.height, c.up, 1, c.up_before, c.up_after, 6 * c.up),
            axis(c.width, c.up, 1, c.up_before, c.up_after, 6 * c.up), c.up_terms};
  }
  static OwnedStage make_down(const Case& c) {
    const Sg3Stage up = make_up(c).get();
    return {axis(up.y.out_size, 1, c.down, c.down_before, c.down_after, 6 * c.down),
            axis(up.x.out_size, 1, c.down, c.down_before, c.down_after, 6 * c.down), c.down_terms};
  }
};

struct Tally {
  int failures = 0, runs = 0, several_parts = 0, radial_up = 0, radial_down = 0, misplaced_words = 0;
};

template <class Kernel>
void run_blocks(const MmaPlan& plan, const MmaTaps& taps, Setup* s, Tensor* y, Tally* tally) {
  using T = typename Kernel::Element;
  constexpr bool kWrites = Kernel::kMode == SG3_ACTIVATE_AND_MASK;
  BlockMask written(s->mask.size());
  for (int b = 0; b < plan.batch * plan.chunks * plan.y.parts * plan.x.parts; ++b) {
    Shared shared(plan.shared_vectors * 4);
    const typename Kernel::Block block(plan, taps, static_cast<T*>(s->x.data()), static_cast<T*>(s->bias.data()),
                                       static_cast<T*>(y->data()), kWrites ? written.data() : s->mask.data(),
                                       shared.get(), b);
    FiberBlock(kMmaThreads).run([&](FiberLane& lane) { block.run(lane); });
    if (kWrites) tally->misplaced_words += written.move_to(&s->mask);
  }
}

void check(const Case& c, Tally* tally) {
  Setup s(c);
  const Sg3FilteredLrelu& p = s.problem;
  Tensor y(c.type, Doubles(c.batch * p.down.y.out_size * p.down.x.out_size * c.channels,
                           std::numeric_limits<double>::quiet_NaN()));
  MmaPlan plan = {};
  bool ran = false;
  const int before = tally->misplaced_words;
  with_mma_kernel(p, c.type, [&](auto kernel) {
    using Kernel = decltype(kernel);
    const SharedLimits limits = {c.shared_bytes, c.shared_bytes, kMultiprocessors};
    if (!make_mma_plan<typename Kernel::Block>(p, mma_alignment(c.channels, s.x.data(), y.data()), limits, &plan))
      return;  // no room
    const MmaTaps taps = make_mma_taps<Kernel>(p, &plan);
    if (!are_finite<Kernel>(taps)) {
      ++tally->failures;
      printf("FAILED: infinite taps: %s\n", c.name().c_str());
      return;
    }
    run_blocks<Kernel>(plan, taps, &s, &y, tally);
    ran = true;
  });
  if (!ran) return;
  ++tally->runs;
  tally->several_parts += plan.x.parts > 1 && plan.y.parts > 1;
  tally->radial_up += c.up_terms > 1;
  tally->radial_down += c.down_terms > 1;

  const double stored = unit_of(c.type);
  const double unit = c.mode == SG3_APPLY_MASK ? stored : unit_of(SG3_FLOAT16);
  Doubles z = resample(p.up, c.batch, c.channels, s.biased());
  Doubles slack = resample(p.up, c.batch, c.channels, s.biased(true));
  for (double& value : slack) value *= kRoundingsOfSamples * unit;
  const int wrong = c.mode == SG3_ACTIVATE_AND_MASK ? s.wrong_words(z, slack) : 0;
  s.activate(&z);
  for (double& value : slack) value *= double(kRoundings) / kRoundingsOfSamples;
  const Doubles expected = resample(p.down, c.batch, c.channels, z), actual = y.values();
  Doubles allowed = resample(p.down, c.batch, c.channels, slack);
  for (size_t i = 0; i < allowed.size(); ++i) allowed[i] += stored * std::fabs(expected[i]);
  // Below its normal numbers float16 has a fixed step.
  const double smallest = unit == unit_of(SG3_FLOAT16) ? kRoundings * std::exp2(-25) : 1e-35;
  int outside = 0;
  double worst = 0, squares = 0, least_squares = 0;  // of the errors, and of those that storing the result causes
  for (size_t i = 0; i < expected.size(); ++i) {
    squares += (actual[i] - expected[i]) * (actual[i] - expected[i]);
    least_squares += std::pow(expected[i] - stored_value(c.type, expected[i]), 2);
    const double share = std::fabs(actual[i] - expected[i]) / (allowed[i] + smallest);
    outside += !(share <= 1);
    worst = std::fmax(worst, std::isnan(share) ? 1e30 : share);
  }
  // Errors of float16 before the end are an eighth of those of the result: five of them would add 8 % to the squares if
  // filters did not average them. bfloat16 would double the squares. A few numbers prove little.
  const bool precise = unit == stored || expected.size() < 1000 || squares < 1.3 * least_squares;
  if (!precise) printf("FAILED: %g times the squares of errors of the result alone\n", squares / least_squares);
  const int misplaced = tally->misplaced_words - before;
  if (outside == 0 && wrong == 0 && misplaced == 0 && precise) return;
  ++tally->failures;
  printf(
      "FAILED: %d of %d outputs outside (%g times the tolerance), %d of %d words wrong, %d misplaced, parts %dx%d: "
      "%s\n",
      outside, int(expected.size()), worst, wrong, int(s.mask.size()), misplaced, plan.y.parts, plan.x.parts,
      c.name().c_str());
}

// Checks a case whose outputs are small differences of two swept rows, which rounding the rows to float16 would hide.
// Each filter and every number up to the rows is exact in float16.
void check_remainders(Tally* tally) {
  const double clamp = 65504. / 256;  // which scales samples by 256
  const Case c = {2, 2, 12, 12, 11, 10, 0, 0, 16, 1, SG3_ACTIVATE, SG3_FLOAT16, clamp, 113 << 10, 1, 1, 1};
  Setup s(c);
  const double impulse[12] = {0, 0, 0, 0, 0, 1, 1}, difference[12] = {0, 0, 0, 0, 1, -1};
  double fine[12] = {};
  for (int k = 0; k < 12; ++k) fine[k] = (1024 + 37 * k) / 16384.;
  Sg3FilteredLrelu& p = s.problem;
  p.slope = 1;
  p.up.taps_y = p.up.taps_x = impulse;
  p.down.taps_x = fine;
  p.down.taps_y = difference;
  Doubles x(c.height * c.width * c.channels);
  for (size_t i = 0; i < x.size(); ++i) x[i] = 64 + double(i / c.channels / c.width % 12 * i % 5) / 16;
  s.x = Tensor(c.type, x);
  s.bias = Tensor(c.type, Doubles(c.channels));
  Tensor y(c.type, Doubles(p.down.y.out_size * p.down.x.out_size * c.channels));
  with_mma_kernel(p, c.type, [&](auto kernel) {
    using Kernel = decltype(kernel);
    MmaPlan plan;
    if (!make_mma_plan<typename Kernel::Block>(p, 8, {c.shared_bytes, c.shared_bytes, kMultiprocessors}, &plan)) return;
    run_blocks<Kernel>(plan, make_mma_taps<Kernel>(p, &plan), &s, &y, tally);
  });
  const Doubles expected = resample(p.down, 1, c.channels, resample(p.up, 1, c.channels, x)), actual = y.values();
  // Swept rows are below 128, and remainders at most 2^-5, which rounding changes by 2^-17. Two of them are rounded,
  // and the output.
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double allowed = std::exp2(-16) + std::exp2(-11) * std::fabs(expected[i]);
    worst = std::fmax(worst, std::fabs(actual[i] - expected[i]) / allowed);
  }
  if (worst <= 1) return;
  ++tally->failures;
  printf("FAILED: differences of swept rows are off by %g times the tolerance\n", worst);
}

// Checks filters of gain 5, which are divided by 8, like that of L13 of the networks, with clamps of 256 and 1. With 1,
// the taps before the nonlinearity are 262000, beyond the range of float16.
void check_small_clamps(Tally* tally) {
  for (const double clamp : {256., 1.}) {
    Setup s({2, 2, 12, 12, 11, 10, 0, 0, 16, 1, SG3_ACTIVATE, SG3_FLOAT16, clamp, 113 << 10, 1, 1, 1});
    const Doubles taps(12, 5. / 6);
    s.problem.up.taps_y = s.problem.up.taps_x = taps.data();
    bool is_right = false;
    with_mma_kernel(s.problem, SG3_FLOAT16, [&](auto kernel) {
      using Kernel = decltype(kernel);
      MmaPlan plan;
      is_right = are_finite<Kernel>(make_mma_taps<Kernel>(s.problem, &plan)) == (clamp > 1);
    });
    if (is_right) continue;
    ++tally->failures;
    printf("FAILED: finite taps under a clamp of %g\n", clamp);
  }
}

// Checks that a problem with more blocks than a grid may have is refused.
void check_many_images(Tally* tally) {
  Setup s({2, 2, 1, 1, 11, 11, 0, 0, 1, 1, SG3_ACTIVATE, SG3_FLOAT16, 0.3, 113 << 10, 1, 1, 1});
  for (const int64_t batch : {0x7fffffffL, 0x80000000L}) {
    s.problem.batch = batch;
    with_mma_kernel(s.problem, SG3_FLOAT16, [&](auto kernel) {
      MmaPlan plan;
      const bool fits =
          make_mma_plan<typename decltype(kernel)::Block>(s.problem, 1, {163 << 10, 81 << 10, 108}, &plan);
      if (fits == (batch < 0x80000000L)) return;
      ++tally->failures;
      printf("FAILED: a plan for %ld images\n", long(batch));
    });
  }
}

// Checks that all layers of the networks except ToRGB, which does not resample, have a plan on every GPU, both forward
// and for their gradients.
void check_networks(Tally* tally) {
  struct Layer {
    int64_t in, up, before, after, channels;
  };
  static const Layer kLayers[] = {
      {38, 2, 9, 8, 512},     {38, 4, -6, -9, 512},    {54, 2, 9, 8, 512},      {54, 4, -6, -9, 512},
      {86, 2, 9, 8, 512},     {86, 4, -6, -9, 512},    {150, 2, 9, 8, 362},     {150, 4, -6, -9, 323},
      {278, 2, 9, 8, 181},    {278, 4, -6, -9, 128},   {534, 4, -6, -9, 81},    {1046, 2, 9, 8, 51},
      {54, 2, -11, -12, 512}, {278, 2, -11, -12, 128}, {1046, 2, -11, -12, 32}, {36, 2, 11, 10, 1024},
      {36, 4, -2, -5, 1024},  {52, 2, 11, 10, 1024},   {52, 4, -2, -5, 1024},   {84, 2, 11, 10, 1024},
      {84, 4, -2, -5, 1024},  {148, 2, 11, 10, 724},   {148, 4, -2, -5, 512},   {276, 2, 11, 10, 362},
      {52, 2, -9, -10, 1024}, {276, 2, -9, -10, 256},
  };
  // Compute capability 8.0, 9.0 and 12.0.
  const SharedLimits all_limits[] = {
      {163 << 10, 81 << 10, 108}, {227 << 10, 113 << 10, 132}, {99 << 10, 49 << 10, 170}};
  for (const Layer& layer : kLayers) {
    for (const int terms : {1, 6}) {
      const Sg3Axis up = axis(layer.in, layer.up, 1, layer.before, layer.after, 6 * layer.up);
      const Sg3Axis down = axis(up.out_size, 1, 2, 0, 0, 12);
      const OwnedStage first(up, up, 1), second(down, down, terms);
      const OwnedStage back(testing::adjoint(down), testing::adjoint(down), terms);
      const OwnedStage out(testing::adjoint(up), testing::adjoint(up), 1);
      for (const int mode : {SG3_ACTIVATE, SG3_ACTIVATE_AND_MASK, SG3_APPLY_MASK}) {
        for (const int gradient : {0, 1}) {
          const Sg3FilteredLrelu problem = {
              8,   layer.channels, gradient ? back.get() : first.get(), gradient ? out.get() : second.get(), 0.2, 256,
              mode};
          if (gradient && mode != SG3_APPLY_MASK) continue;
          for (const int type : {SG3_FLOAT16, SG3_BFLOAT16}) {
            int plans = 0;
            with_mma_kernel(problem, type, [&](auto kernel) {
              for (const SharedLimits& limits : all_limits) {
                MmaPlan plan;
                using Block = typename decltype(kernel)::Block;
                plans += make_mma_plan<Block>(problem, 8, limits, &plan);
              }
            });
            if (plans == 3) continue;
            ++tally->failures;
            printf("FAILED: %d of 3 plans: %d pixels, up %d, %d terms, mode %d, gradient %d, type %d\n", plans,
                   int(layer.in), int(layer.up), terms, mode, gradient, type);
          }
        }
      }
    }
  }
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
  c.channels = choose({3, 16, 24, 37, 42});
  c.batch = choose({1, 1, 2});
  c.mode = int(choose({SG3_ACTIVATE, SG3_ACTIVATE_AND_MASK, SG3_APPLY_MASK}));
  c.type = int(choose({SG3_FLOAT16, SG3_BFLOAT16}));
  c.up_terms = c.mode == SG3_APPLY_MASK && c.up == 2 ? int(choose({1, 3})) : 1;
  c.down_terms = c.up_terms == 1 && c.down == 2 ? int(choose({1, 3})) : 1;
  c.clamp = generator()() % 4 ? 0.3 : std::numeric_limits<double>::infinity();
  c.shared_bytes = choose({40, 60, 113}) << 10;
  // Gradients of bfloat16 images may have any scale.
  c.scale = c.type == SG3_BFLOAT16 && c.mode == SG3_APPLY_MASK ? std::exp2(double(choose({-90, 0, 90}))) : 1;
  return is_empty(c) ? random_case() : c;
}

int run_all(int cases) {
  Tally tally;
  for (int i = 0; i < cases; ++i) check(random_case(), &tally);
  // Images tall enough for several segments, and wide enough for several strips.
  for (const int mode : {SG3_ACTIVATE, SG3_ACTIVATE_AND_MASK, SG3_APPLY_MASK}) {
    check({2, 2, 70, 40, 9, 12, 0, 0, 16, 1, mode, SG3_FLOAT16, 0.3, 60 << 10, 1, 1, 1}, &tally);
    check({2, 2, 70, 40, 9, 12, 0, 0, 16, 1, mode, SG3_FLOAT16, 0.3, 50 << 10, 1, 1, 3}, &tally);
  }
  check({2, 2, 70, 40, 9, 12, 0, 0, 16, 1, SG3_APPLY_MASK, SG3_FLOAT16, 0.3, 50 << 10, 1, 3, 1}, &tally);
  check({2, 4, 70, 40, 9, 12, 0, 0, 16, 1, SG3_APPLY_MASK, SG3_FLOAT16, 0.3, 60 << 10, 1, 3, 1}, &tally);
  // Strips that lie beside the samples: the first before them, the last behind them.
  for (const int terms : {1, 3}) {
    check({2, 2, 12, 12, 9, 8, 20, 11, 16, 1, SG3_ACTIVATE_AND_MASK, SG3_FLOAT16, 0.3, 60 << 10, 1, 1, terms}, &tally);
    check({2, 2, 13, 13, 9, 0, 0, 20, 16, 1, SG3_ACTIVATE_AND_MASK, SG3_FLOAT16, 0.3, 60 << 10, 1, 1, terms}, &tally);
  }
  // Pixels at multiples of 2 and 4 bytes.
  for (const int64_t channels : {21, 22}) {
    check({2, 2, 16, 12, 9, 8, 0, 0, channels, 1, SG3_ACTIVATE, SG3_FLOAT16, 0.3, 113 << 10, 1, 1, 1}, &tally);
  }
  // bfloat16, and gradients of any scale.
  for (const int mode : {SG3_ACTIVATE, SG3_ACTIVATE_AND_MASK, SG3_APPLY_MASK}) {
    check({2, 2, 16, 12, 9, 8, 0, 0, 16, 1, mode, SG3_BFLOAT16, 0.3, 113 << 10, 1, 1, 1}, &tally);
  }
  check({4, 2, 16, 12, -6, -9, 0, 0, 16, 1, SG3_ACTIVATE, SG3_BFLOAT16, 0.3, 113 << 10, 1, 1, 3}, &tally);
  check({2, 2, 16, 12, 9, 8, 0, 0, 16, 1, SG3_APPLY_MASK, SG3_BFLOAT16, 0.3, 113 << 10, 0x1p-90, 1, 1}, &tally);
  check({2, 2, 16, 12, 9, 8, 0, 0, 16, 1, SG3_APPLY_MASK, SG3_BFLOAT16, 0.3, 113 << 10, 0x1p90, 3, 1}, &tally);
  check_remainders(&tally);
  check_small_clamps(&tally);
  check_many_images(&tally);
  check_networks(&tally);
  if (tally.runs < cases / 2 || tally.several_parts < 7) ++tally.failures;
  printf("%d cases, %d on tensor cores, %d in several strips and segments, %d and %d radial, %d failures\n", cases,
         tally.runs, tally.several_parts, tally.radial_up, tally.radial_down, tally.failures);
  return tally.failures != 0;
}

}  // namespace
}  // namespace sg3::cuda

// Random cases, besides the fixed ones; a third of them under AddressSanitizer, which takes four times as long.
#if defined(__SANITIZE_ADDRESS__)
constexpr int kCases = 8;
#else
constexpr int kCases = 24;
#endif

int main(int argc, char** argv) { return sg3::cuda::run_all(argc > 1 ? atoi(argv[1]) : kCases); }
