// Compares the sweeping kernel, run on emulated warps, with the definition, over many geometries.

#include <string>

#include "custom_ops/filtered_lrelu/cuda_sweep_plan.h"
#include "custom_ops/filtered_lrelu/lrelu_host_test.h"
#include "custom_ops/resampling/testing/cuda_host.h"
#include "custom_ops/resampling/testing/mma_host.h"
#include "custom_ops/resampling/testing/reference.h"

namespace sg3::cuda {
namespace {

using testing::axis;
using testing::resample;

constexpr int kCapacity = 4;  // steps

struct Case {
  int64_t up, down, up_terms, down_terms, height, width, up_before, up_after, down_before, down_after, channels, batch;
  int mode, type;
  double clamp;
  int multiprocessors;

  std::string name() const {
    char text[300];
    snprintf(text, sizeof(text),
             "up %d (%d terms) down %d (%d terms) size %dx%d pad %d,%d then %d,%d C %d N %d mode %d type %d clamp %g",
             int(up), int(up_terms), int(down), int(down_terms), int(height), int(width), int(up_before), int(up_after),
             int(down_before), int(down_after), int(channels), int(batch), mode, type, clamp);
    return text;
  }

  Sg3Axis up_axis(int64_t size) const { return axis(size, up, 1, up_before, up_after, 6 * up); }
  Sg3Axis down_axis(int64_t size) const { return axis(size, 1, down, down_before, down_after, 6 * down); }

  bool is_empty() const {
    for (const int64_t size : {height, width}) {
      const int64_t up_size = up_axis(size).out_size;
      if (up_size < 1 || down_axis(up_size).out_size < 1) return true;
    }
    return false;
  }
};

struct Setup : LreluSetup {
  explicit Setup(const Case& c) : LreluSetup(make_up(c), make_down(c), c.batch, c.channels, c.clamp, c.mode, c.type) {}

  static OwnedStage make_up(const Case& c) { return {c.up_axis(c.height), c.up_axis(c.width), c.up_terms}; }
  static OwnedStage make_down(const Case& c) {
    const Sg3Stage up = make_up(c).get();
    OwnedStage down(c.down_axis(up.y.out_size), c.down_axis(up.x.out_size), c.down_terms);
    if (c.down_terms > 1) down.make_even();
    return down;
  }
};

struct Tally {
  int failures = 0, runs = 0, several_parts = 0, misplaced_words = 0;
};

// Runs all blocks.
template <class T, int WIDTH, int UP, int DOWN, int MODE, int UP_TERMS, int DOWN_TERMS>
void run_blocks(const SweepPlan& plan, Setup* s, Tensor* y, Tally* tally) {
  const SweepTaps taps = sweep_taps(s->problem);
  constexpr bool kWrites = MODE == SG3_ACTIVATE_AND_MASK;
  BlockMask written(s->mask.size());
  for (int64_t b = 0; b < num_sweep_blocks(plan); ++b) {
    using Block = SweepBlock<T, WIDTH, UP, DOWN, MODE, UP_TERMS, DOWN_TERMS, kCapacity>;
    Shared shared(Block::shape().shared_floats());
    const Block block(plan, taps, static_cast<T*>(s->x.data()),
                      MODE == SG3_APPLY_MASK ? nullptr : static_cast<T*>(s->bias.data()), static_cast<T*>(y->data()),
                      kWrites ? written.data() : s->mask.data(), shared.get(), b);
    FiberBlock(kSweepThreads).run([&](FiberLane& lane) { block.run(lane); });
    if (kWrites) tally->misplaced_words += written.move_to(&s->mask);
  }
}

template <class T, int WIDTH>
void run_shape(const Case& c, const SweepPlan& plan, Setup* s, Tensor* y, Tally* tally) {
  constexpr int kOff = SG3_ACTIVATE, kOn = SG3_ACTIVATE_AND_MASK, kApply = SG3_APPLY_MASK;
  const auto is = [&](int up, int down, int mode, int up_terms, int down_terms) {
    return c.up == up && c.down == down && c.mode == mode && c.up_terms == up_terms && c.down_terms == down_terms;
  };
  if (is(2, 2, kOff, 1, 1)) run_blocks<T, WIDTH, 2, 2, kOff, 1, 1>(plan, s, y, tally);
  if (is(2, 2, kOn, 1, 1)) run_blocks<T, WIDTH, 2, 2, kOn, 1, 1>(plan, s, y, tally);
  if (is(2, 2, kApply, 1, 1)) run_blocks<T, WIDTH, 2, 2, kApply, 1, 1>(plan, s, y, tally);
  if (is(4, 2, kOff, 1, 1)) run_blocks<T, WIDTH, 4, 2, kOff, 1, 1>(plan, s, y, tally);
  if (is(4, 2, kOn, 1, 1)) run_blocks<T, WIDTH, 4, 2, kOn, 1, 1>(plan, s, y, tally);
  if (is(4, 2, kApply, 1, 1)) run_blocks<T, WIDTH, 4, 2, kApply, 1, 1>(plan, s, y, tally);
  if (is(2, 4, kApply, 1, 1)) run_blocks<T, WIDTH, 2, 4, kApply, 1, 1>(plan, s, y, tally);
  // Radial filters, with as many terms as most layers of config R have.
  if (is(2, 2, kOff, 1, 4)) run_blocks<T, WIDTH, 2, 2, kOff, 1, 4>(plan, s, y, tally);
  if (is(2, 2, kOn, 1, 4)) run_blocks<T, WIDTH, 2, 2, kOn, 1, 4>(plan, s, y, tally);
  if (is(2, 2, kApply, 4, 1)) run_blocks<T, WIDTH, 2, 2, kApply, 4, 1>(plan, s, y, tally);
  if (is(4, 2, kOn, 1, 4)) run_blocks<T, WIDTH, 4, 2, kOn, 1, 4>(plan, s, y, tally);
  if (is(4, 2, kApply, 1, 4)) run_blocks<T, WIDTH, 4, 2, kApply, 1, 4>(plan, s, y, tally);
  if (is(2, 4, kApply, 4, 1)) run_blocks<T, WIDTH, 2, 4, kApply, 4, 1>(plan, s, y, tally);
}

void check(const Case& c, Tally* tally) {
  Setup s(c);
  const Sg3FilteredLrelu& p = s.problem;
  if (!has_sweep_shape(p)) return;
  SweepShape shape = sweep_shape(p);
  shape.capacity = kCapacity;
  const SweepPlan plan = sweep_plan(p, shape, {227 << 10, 113 << 10, c.multiprocessors});
  Tensor y(c.type, Doubles(c.batch * p.down.y.out_size * p.down.x.out_size * c.channels,
                           std::numeric_limits<double>::quiet_NaN()));
  const int before = tally->misplaced_words;
  if (c.type == SG3_FLOAT16) {
    run_shape<Half, 4>(c, plan, &s, &y, tally);
  } else if (c.type == SG3_BFLOAT16) {
    run_shape<BFloat16, 1>(c, plan, &s, &y, tally);
  } else if (c.channels % 4 == 0) {
    run_shape<float, 4>(c, plan, &s, &y, tally);
  } else {
    run_shape<float, 1>(c, plan, &s, &y, tally);
  }
  ++tally->runs;
  tally->several_parts += plan.x.parts > 1 && plan.y.parts > 1;

  // A sum of n products in float32 is off by at most n roundings of the sum of magnitudes. The longest path has the
  // bias, 6 products for each upsampling axis and term, their taps, the slope, a sum of pairs, the products of
  // downsampling, and their taps.
  const double unit = std::exp2(-24);
  const double up_roundings = 1 + 6 + 6.0 * double(c.up_terms) + 2,
               down_roundings = 2 + 6.0 * double(c.down) * 2 * double(c.down_terms) + 2;
  Doubles z = resample(p.up, c.batch, c.channels, s.biased());
  Doubles slack = resample(p.up, c.batch, c.channels, s.biased(true));
  for (double& value : slack) value *= up_roundings * unit;
  const int wrong = c.mode == SG3_ACTIVATE_AND_MASK ? s.wrong_words(z, slack) : 0;
  s.activate(&z);
  for (size_t i = 0; i < z.size(); ++i) slack[i] += down_roundings * unit * std::fabs(z[i]);
  const Doubles expected = resample(p.down, c.batch, c.channels, z);
  const Doubles allowed = resample(p.down, c.batch, c.channels, slack), actual = y.values();
  // The output is rounded once more; below its normal numbers float16 has a fixed step.
  const double output_unit = c.type == SG3_FLOAT32 ? 0 : std::exp2(c.type == SG3_FLOAT16 ? -11 : -8);
  const double smallest = c.type == SG3_FLOAT16 ? std::exp2(-25) : 1e-30;
  int outside = 0;
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double tolerance = allowed[i] + output_unit * (std::fabs(expected[i]) + allowed[i]) + smallest;
    const double share = std::fabs(actual[i] - expected[i]) / tolerance;
    outside += !(share <= 1);
    worst = std::fmax(worst, std::isnan(share) ? 1e30 : share);
  }
  if (outside == 0 && wrong == 0 && tally->misplaced_words == before) return;
  ++tally->failures;
  printf(
      "FAILED: %d of %d outputs outside (%g times the tolerance), %d of %d words wrong, %d misplaced, parts %dx%d: "
      "%s\n",
      outside, int(expected.size()), worst, wrong, int(s.mask.size()), tally->misplaced_words - before, plan.y.parts,
      plan.x.parts, c.name().c_str());
}

Case random_case() {
  static const int64_t kShapes[][5] = {
      // up, down, terms of each, mode
      {2, 2, 1, 1, SG3_ACTIVATE},   {2, 2, 1, 1, SG3_ACTIVATE_AND_MASK}, {2, 2, 1, 1, SG3_APPLY_MASK},
      {4, 2, 1, 1, SG3_ACTIVATE},   {4, 2, 1, 1, SG3_ACTIVATE_AND_MASK}, {4, 2, 1, 1, SG3_APPLY_MASK},
      {2, 4, 1, 1, SG3_APPLY_MASK}, {2, 2, 1, 4, SG3_ACTIVATE},          {2, 2, 1, 4, SG3_ACTIVATE_AND_MASK},
      {2, 2, 4, 1, SG3_APPLY_MASK}, {4, 2, 1, 4, SG3_ACTIVATE_AND_MASK}, {4, 2, 1, 4, SG3_APPLY_MASK},
      {2, 4, 4, 1, SG3_APPLY_MASK},
  };
  static int64_t next = 0;
  const auto& shape = kShapes[next++ % (sizeof(kShapes) / sizeof(kShapes[0]))];
  while (true) {
    Case c = {};
    c.up = shape[0];
    c.down = shape[1];
    c.up_terms = shape[2];
    c.down_terms = shape[3];
    c.mode = int(shape[4]);
    c.height = choose({6, 13, 20, 30});
    c.width = choose({7, 12, 23, 40});
    c.up_before = choose({-11, -6, -2, -1, 0, 1, 9, 11});
    c.up_after = choose({-9, -3, 0, 2, 5, 10, 16});
    c.down_before = choose({0, 0, 0, 2, 12, 29});
    c.down_after = choose({0, 0, 1, 2, 11, 20});
    c.channels = choose({3, 16, 20, 37});
    c.batch = choose({1, 1, 2});
    c.type = int(choose({SG3_FLOAT32, SG3_FLOAT32, SG3_FLOAT16, SG3_BFLOAT16}));
    if (c.type == SG3_FLOAT16) c.channels = choose({4, 20});
    c.clamp = generator()() % 4 ? 0.3 : std::numeric_limits<double>::infinity();
    c.multiprocessors = int(choose({1, 1, 2, 6}));
    if (!c.is_empty() && has_sweep_shape(Setup(c).problem)) return c;
  }
}

// Returns true if the kernel takes a layer of StyleGAN3 whose upsampling filter has this padding, or its gradient.
bool takes_layer(int64_t up, int64_t before, int64_t down_terms, bool backward) {
  Case c = {};
  c.up = backward ? 2 : up;
  c.down = backward ? up : 2;
  c.up_terms = backward ? down_terms : 1;
  c.down_terms = backward ? 1 : down_terms;
  c.height = c.width = 40;
  c.up_before = backward ? 11 : before;
  c.up_after = backward ? 12 : before - up + 1;
  c.down_before = backward ? 6 * up - 1 - before : 0;
  c.channels = 16;
  c.batch = 1;
  c.mode = backward ? SG3_APPLY_MASK : SG3_ACTIVATE_AND_MASK;
  c.clamp = 256;
  const Setup s(c);
  const bool takes =
      has_sweep_shape(s.problem) && sweep_capacity(sweep_shape(s.problem), c.mode, {227 << 10, 113 << 10, 132}) > 0;
  if (!takes) printf("FAILED: no plan for up %d pad %d terms %d\n", int(up), int(before), int(down_terms));
  return takes;
}

int run_all(int cases) {
  Tally tally;
  for (int i = 0; i < cases; ++i) check(random_case(), &tally);
  // Images tall enough for several segments, and wide enough for several strips.
  for (const int mode : {SG3_ACTIVATE, SG3_ACTIVATE_AND_MASK, SG3_APPLY_MASK}) {
    check({2, 2, 1, 1, 60, 64, 9, 8, 0, 0, 16, 1, mode, SG3_FLOAT32, 0.3, 4}, &tally);
  }
  // A strip that is not the last one but reaches beyond the samples: of 20 columns.
  check({2, 2, 1, 1, 11, 11, 9, 0, 0, 20, 16, 1, SG3_ACTIVATE_AND_MASK, SG3_FLOAT32, 0.3, 2}, &tally);
  for (const bool backward : {false, true}) {
    for (const int64_t terms : {1, 3, 4, 5, 6}) {
      for (const int64_t before : {-11, -9, 9, 11}) tally.failures += !takes_layer(2, before, terms, backward);
      for (const int64_t before : {-6, -2}) tally.failures += !takes_layer(4, before, terms, backward);
    }
  }
  if (tally.runs < cases || tally.several_parts < 3) ++tally.failures;
  printf("%d cases, %d swept, %d of them in several strips and segments, %d failures\n", cases, tally.runs,
         tally.several_parts, tally.failures);
  return tally.failures != 0;
}

}  // namespace
}  // namespace sg3::cuda

int main(int argc, char** argv) { return sg3::cuda::run_all(argc > 1 ? atoi(argv[1]) : 26); }
