// Chooses strips and segments for filtered_lrelu on tensor cores, and scales and rounds its filters: plain C++, run
// before every launch.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_PLAN_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_PLAN_H_

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "custom_ops/filtered_lrelu/cuda_mma_radial.h"
#include "custom_ops/resampling/cuda/plan.h"

namespace sg3::cuda {

// The slowdown if shared memory leaves no room for a second block on a multiprocessor. A guess, to be measured.
constexpr double kMmaSingleBlockPenalty = 1.5;
constexpr int kMmaFewWaves = 4;    // of blocks; with fewer, an incomplete last wave counts in full
constexpr double kMmaSetup = 600;  // instructions of a warp before the first stripe

// -- What is supported ------------------------------------------------------------------------------------------------

inline bool has_mma_factors(const Sg3Axis& up, const Sg3Axis& down, int up_factor, int down_factor) {
  return up.up == up_factor && down.down == down_factor && up.taps <= kMmaTapsPerFactor * up_factor &&
         down.taps <= kMmaTapsPerFactor * down_factor;
}

// Returns true if every upsampled sample has a block to write its mask word: none lies before the first output's
// neighborhood or beyond the last one's.
inline bool covers_mask(const Sg3Axis& down, int factor) {
  const int64_t last = (down.out_size - 1) * factor - down.before + kMmaTapsPerFactor * factor;
  return down.before >= 0 && last >= down.in_size;
}

// bfloat16 images need a clamp, because numbers beyond the range of float16 saturate between the passes.
inline bool has_mma_types(const Sg3FilteredLrelu& p, int type) {
  return type == SG3_FLOAT16 || (type == SG3_BFLOAT16 && (p.mode == SG3_APPLY_MASK || std::isfinite(p.clamp)));
}

template <int UP, int DOWN>
bool has_mma_shape(const Sg3FilteredLrelu& p, int type) {
  return has_mma_types(p, type) && has_mma_factors(p.up.y, p.down.y, UP, DOWN) &&
         has_mma_factors(p.up.x, p.down.x, UP, DOWN) && 0 <= p.slope && p.slope <= 1 && p.clamp > 0 &&
         (p.mode != SG3_ACTIVATE_AND_MASK || (covers_mask(p.down.y, DOWN) && covers_mask(p.down.x, DOWN)));
}

template <template <class, int, int, int> class BLOCK, class T, int UP, int DOWN, int MODE>
struct MmaKernel {
  static constexpr int kUp = UP, kDown = DOWN, kMode = MODE;
  using Element = T;
  using Block = BLOCK<T, UP, DOWN, MODE>;
};

template <template <class, int, int, int> class BLOCK, int UP, int DOWN, int MODE, class F>
void with_mma_element(int type, F f) {
  if (type == SG3_FLOAT16) {
    f(MmaKernel<BLOCK, Half, UP, DOWN, MODE>());
  } else {
    f(MmaKernel<BLOCK, BFloat16, UP, DOWN, MODE>());
  }
}

template <template <class, int, int, int> class BLOCK, int UP, int DOWN, class F>
void with_mma_mode(int mode, int type, F f) {
  if (mode == SG3_ACTIVATE) with_mma_element<BLOCK, UP, DOWN, SG3_ACTIVATE>(type, f);
  if (mode == SG3_ACTIVATE_AND_MASK) with_mma_element<BLOCK, UP, DOWN, SG3_ACTIVATE_AND_MASK>(type, f);
  if (mode == SG3_APPLY_MASK) with_mma_element<BLOCK, UP, DOWN, SG3_APPLY_MASK>(type, f);
}

template <class F>
bool with_radial_mma_kernel(const Sg3FilteredLrelu& p, int type, F f) {
  if (p.up.terms == 1) {
    if (has_mma_shape<2, 2>(p, type)) return with_mma_mode<MmaRadialDownBlock, 2, 2>(p.mode, type, f), true;
    if (has_mma_shape<4, 2>(p, type)) return with_mma_mode<MmaRadialDownBlock, 4, 2>(p.mode, type, f), true;
  } else if (p.down.terms == 1 && p.mode == SG3_APPLY_MASK) {
    if (has_mma_shape<2, 2>(p, type)) return with_mma_element<MmaRadialUpBlock, 2, 2, SG3_APPLY_MASK>(type, f), true;
    if (has_mma_shape<2, 4>(p, type)) return with_mma_element<MmaRadialUpBlock, 2, 4, SG3_APPLY_MASK>(type, f), true;
  }
  return false;
}

// Calls f(MmaKernel()) for the problem; returns false if it is not for tensor cores. Upsampling by 2 before
// downsampling by 4, and upsampling with a filter of several terms, occur only in gradients.
template <class F>
bool with_mma_kernel(const Sg3FilteredLrelu& p, int type, F f) {
  if (p.up.terms > 1 || p.down.terms > 1) return with_radial_mma_kernel(p, type, f);
  if (has_mma_shape<2, 2>(p, type)) return with_mma_mode<MmaBlock, 2, 2>(p.mode, type, f), true;
  if (has_mma_shape<4, 2>(p, type)) return with_mma_mode<MmaBlock, 4, 2>(p.mode, type, f), true;
  if (p.mode == SG3_APPLY_MASK && has_mma_shape<2, 4>(p, type)) {
    return with_mma_element<MmaBlock, 2, 4, SG3_APPLY_MASK>(type, f), true;
  }
  return false;
}

// -- Filters ----------------------------------------------------------------------------------------------------------

// Rounds taps to T so that their sum changes as little as one step of each tap allows. A wrong sum would be an error at
// low frequencies, or make the phases of a filter differ.
template <class T>
void round_taps(const std::vector<double*>& taps) {
  const auto value = [](T x) { return double(to_float(x)); };
  // The next number in the direction of `step`; zeros stay.
  const auto neighbor = [&](T x, double step) {
    const bool grows = (value(x) < 0) == (step < 0);
    return value(x) == 0 ? x : T{uint16_t(x.bits + (grows ? 1 : -1))};
  };
  std::vector<T> near(taps.size());
  double missing = 0;
  for (size_t i = 0; i < taps.size(); ++i) {
    from_float(float(*taps[i]), &near[i]);
    missing += *taps[i] - value(near[i]);
  }
  std::vector<bool> moved(taps.size());
  while (true) {
    size_t best = taps.size();
    double least = std::fabs(missing);
    for (size_t i = 0; i < taps.size(); ++i) {
      const double rest = std::fabs(missing - (value(neighbor(near[i], missing)) - value(near[i])));
      if (!moved[i] && rest < least) best = i, least = rest;
    }
    if (best == taps.size()) break;
    const double before = value(near[best]);
    near[best] = neighbor(near[best], missing);
    missing -= value(near[best]) - before;
    moved[best] = true;
  }
  for (size_t i = 0; i < taps.size(); ++i) *taps[i] = value(near[i]);
}

// A filter [height, width] that is being scaled and rounded.
struct MmaFilter {
  int height, width;
  std::vector<double> taps;

  // Returns pointers to the taps of a phase: every factor-th along both axes, or along the only one.
  std::vector<double*> phase(int index, int factor) {
    std::vector<double*> result;
    const int row = height > 1 ? index / factor : 0, row_step = height > 1 ? factor : 1;
    for (int y = row; y < height; y += row_step) {
      for (int x = index % factor; x < width; x += factor) result.push_back(&taps[y * width + x]);
    }
    return result;
  }

  int phases(int factor) const { return height > 1 ? factor * factor : factor; }

  // Divides by the power of two that makes outputs at most as large as inputs, and returns it.
  double normalize(int up) {
    double gain = 0;
    for (int index = 0; index < phases(up); ++index) {
      double total = 0;
      for (const double* tap : phase(index, up)) total += std::fabs(*tap);
      gain = std::max(gain, total);
    }
    gain = gain > 0 ? std::exp2(std::ceil(std::log2(gain))) : 1;
    for (double& tap : taps) tap /= gain;
    return gain;
  }

  template <class T>
  void round(int factor) {
    for (int index = 0; index < phases(factor); ++index) round_taps<T>(phase(index, factor));
  }

  // Returns the filter with its taps multiplied by `scale`.
  MmaFilter times(double scale) const {
    MmaFilter result = *this;
    for (double& tap : result.taps) tap *= scale;
    return result;
  }

  // Returns the squares of what rounding to T changes, relative to the squares of the taps.
  template <class T>
  double rounding_error() const {
    double errors = 0, squares = 0;
    for (const double tap : taps) {
      T value;
      from_float(float(tap), &value);
      errors += (tap - to_float(value)) * (tap - to_float(value));
      squares += tap * tap;
    }
    return squares > 0 ? errors / squares : 0;
  }

  template <class T, int SIZE>
  void copy(MmaTapRow<SIZE>* rows) const {
    for (int i = 0; i < height * width; ++i) {
      T value;
      from_float(float(taps[i]), &value);
      rows[i / width].bits[kMmaMargin + i % width] = value.bits;
    }
  }
};

// Returns the filter of a stage along one axis.
inline MmaFilter mma_filter(const Sg3Axis& axis, const double* taps) {
  return {1, int(axis.taps), {taps, taps + axis.taps}};
}

// Returns the sum of a stage's separable terms.
inline MmaFilter radial_mma_filter(const Sg3Stage& stage) {
  MmaFilter filter = {int(stage.y.taps), int(stage.x.taps), std::vector<double>(stage.y.taps * stage.x.taps)};
  for (int64_t term = 0; term < stage.terms; ++term) {
    for (size_t i = 0; i < filter.taps.size(); ++i) {
      const int64_t row = i / stage.x.taps, column = i % stage.x.taps;
      filter.taps[i] += stage.taps_y[term * stage.y.taps + row] * stage.taps_x[term * stage.x.taps + column];
    }
  }
  return filter;
}

// Scales and rounds the filters, and fills in the numbers of the plan that depend on their scales.
template <class Kernel>
MmaTaps make_mma_taps(const Sg3FilteredLrelu& p, MmaPlan* plan) {
  using T = typename Kernel::Element;
  using Inner = typename Kernel::Block::Inner;
  constexpr MmaRadial kRadial = Kernel::Block::kRadial;
  const bool activates = p.mode != SG3_APPLY_MASK;
  MmaTaps taps = {};
  double scale = 1;  // of the sums of products before the nonlinearity
  if constexpr (kRadial == MmaRadial::kUp) {
    MmaFilter filter = radial_mma_filter(p.up);
    scale /= filter.normalize(Kernel::kUp);
    filter.round<Inner>(Kernel::kUp);
    filter.copy<Inner>(taps.radial);
  } else {
    MmaFilter y = mma_filter(p.up.y, p.up.taps_y), x = mma_filter(p.up.x, p.up.taps_x);
    scale /= y.normalize(Kernel::kUp) * x.normalize(Kernel::kUp);
    // Samples are scaled by (1 + slope) / 2, which saves the nonlinearity a product, and so that the clamp becomes the
    // largest float16 number.
    double wanted = 1;
    if (activates) wanted = (1 + p.slope) / 2 * (std::isfinite(p.clamp) ? kHalfMax / p.clamp / scale : 1);
    scale *= wanted;
    // The scale is split between the filters so that rounding changes them least.
    double share = 1, least = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 8; ++i) {
      const double candidate = std::exp2(-i / 8.);
      double error = x.times(wanted / candidate).template rounding_error<Inner>();
      if (kIsHalf<T>) error += y.times(candidate).template rounding_error<T>();
      if (error < least) least = error, share = candidate;
    }
    y = y.times(share);
    x = x.times(wanted / share);
    if (kIsHalf<T>) y.round<T>(Kernel::kUp);
    x.round<Inner>(Kernel::kUp);
    y.copy<T>(&taps.up_y[0]);
    x.copy<Inner>(&taps.up_x);
    std::copy(y.taps.begin(), y.taps.end(), taps.gain_y);
    std::copy(x.taps.begin(), x.taps.end(), taps.gain_x);
    // A bfloat16 image is upsampled by a sum of two rounded filters.
    for (size_t i = 0; i < y.taps.size(); ++i) y.taps[i] -= to_float(T{taps.up_y[0].bits[kMmaMargin + i]});
    y.copy<T>(&taps.up_y[1]);
  }
  plan->slope = float(p.slope);
  plan->bent = float((1 - p.slope) / (1 + p.slope));
  if (activates) scale *= 2 / (1 + p.slope);  // of activated samples
  double down_gain = 1;
  if constexpr (kRadial == MmaRadial::kDown) {
    MmaFilter filter = radial_mma_filter(p.down);
    down_gain = filter.normalize(1);
    filter.round<Inner>(Kernel::kDown);
    filter.copy<Inner>(taps.radial);
  } else {
    MmaFilter y = mma_filter(p.down.y, p.down.taps_y), x = mma_filter(p.down.x, p.down.taps_x);
    down_gain = y.normalize(1) * x.normalize(1);
    MmaFilter x_of_slope = x.times(p.slope);
    for (MmaFilter* filter : {&y, &x, &x_of_slope}) filter->round<Inner>(Kernel::kDown);
    y.copy<Inner>(&taps.down_y);
    x.copy<Inner>(&taps.down_x[0]);
    x_of_slope.copy<Inner>(&taps.down_x[1]);
  }
  plan->out_scale = float(down_gain / scale);
  return taps;
}

// Returns true if the taps before the nonlinearity are finite in their type: the smaller the clamp, the larger they
// are.
template <class Kernel>
bool are_finite(const MmaTaps& taps) {
  using Inner = typename Kernel::Block::Inner;
  return std::all_of(std::begin(taps.up_x.bits), std::end(taps.up_x.bits),
                     [](uint16_t bits) { return std::isfinite(to_float(Inner{bits})); });
}

// -- Strips and segments ----------------------------------------------------------------------------------------------

inline MmaAxis mma_axis(const Sg3Axis& up, const Sg3Axis& down) {
  return {int(up.before), int(down.before), int(up.in_size), int(up.out_size), int(down.out_size), 0, 0};
}

// The planes of a strip, laid out one after the other.
class MmaPlanes {
 public:
  int add(int64_t vectors) {
    const int64_t at = end_;
    end_ += vectors;
    return int(at);
  }
  int64_t end() const { return end_; }

 private:
  int64_t end_ = 0;
};

// Adds the planes that hold no images: the room for outputs, filters, gains, and mask words.
template <class Block>
void add_tables(MmaPlan* p, MmaPlanes* planes) {
  p->out_at = planes->add(kMmaWarps * 32);
  p->filters_at = planes->add(Block::kFilters * 16);
  p->gains_at = planes->add(Block::kHasBias ? kMmaColumnsAt / 4 + p->steps * 4 : 0);
  p->word_pitch = ceil_div(p->steps, 2) * 32;  // whole passes of a warp
  p->words_at = planes->add(Block::kHasBias ? 0 : Block::kLines * p->word_pitch / 4);
  p->shared_vectors = int(planes->end());
}

// Divides the outputs along an axis evenly, in multiples of 8.
inline void divide(int parts, MmaAxis* axis) {
  axis->outputs = ceil_div(ceil_div(axis->out_size, parts), 8) * 8;
  axis->parts = ceil_div(axis->out_size, axis->outputs);
}

// Lays out the planes of a strip, and returns the instructions that a warp spends on a stripe.
template <class T, int UP, int DOWN, int MODE>
double lay_out(MmaPlan* p, MmaBlock<T, UP, DOWN, MODE>*) {
  using Block = MmaBlock<T, UP, DOWN, MODE>;
  const int outputs = p->x.outputs;
  p->steps = outputs / 8 * Block::kAdvance + Block::kReach - Block::kAdvance;
  p->columns = (p->steps - 1) * Block::kNewColumns + 16;
  p->in_rows = 16;
  p->in_pitch = p->rows_pitch = 2 * p->columns + 1;
  MmaPlanes planes;
  p->in_at = planes.add(16 * p->in_pitch);
  p->rows_at = planes.add(16 * p->rows_pitch);
  for (int part = 0; part < Block::kSweptParts; ++part) {
    const bool in_place = part == 0 && Block::kSweepsInPlace;
    p->swept_pitch[part] = in_place ? p->rows_pitch : 2 * outputs + 1;
    p->swept_at[part] = in_place ? p->rows_at : planes.add(16 * p->swept_pitch[part]);
  }
  add_tables<Block>(p, &planes);
  return 40 + 14.0 * ceil_div(p->columns, kMmaWarps) + 2 * (40 + 40.0 * p->steps) +
         20.0 * Block::kSweptParts * ceil_div(outputs, kMmaWarps * 2);
}

template <class T, int UP, int DOWN, int MODE>
double lay_out(MmaPlan* p, MmaRadialUpBlock<T, UP, DOWN, MODE>*) {
  using Block = MmaRadialUpBlock<T, UP, DOWN, MODE>;
  const int outputs = p->x.outputs;
  p->steps = outputs / 8 * Block::kAdvance + Block::kReach - Block::kAdvance;
  p->columns = (p->steps - 1) * Block::kNewColumns + 16;
  p->in_rows = 32;  // because new rows arrive while 16 are read
  p->in_pitch = 2 * p->columns + 1;
  p->swept_pitch[0] = 2 * outputs + 1;
  MmaPlanes planes;
  p->in_at = planes.add(p->in_rows * p->in_pitch);
  p->swept_at[0] = planes.add(16 * p->swept_pitch[0]);
  add_tables<Block>(p, &planes);
  return 40 + 2 * (40 + 70.0 * p->steps) + 20.0 * ceil_div(outputs, kMmaWarps * 2);
}

template <class T, int UP, int DOWN, int MODE>
double lay_out(MmaPlan* p, MmaRadialDownBlock<T, UP, DOWN, MODE>*) {
  using Block = MmaRadialDownBlock<T, UP, DOWN, MODE>;
  const int outputs = p->x.outputs;
  p->steps = outputs / 8 + Block::kSteps - 1;
  p->columns = (p->steps - 1) * Block::kNewColumns + 16;
  p->in_rows = 16;
  p->in_pitch = p->rows_pitch = 2 * p->columns + 1;
  p->swept_pitch[0] = 2 * 16 * p->steps + 1;
  MmaPlanes planes;
  p->in_at = planes.add(16 * p->in_pitch);
  p->rows_at = planes.add(Block::kLines * p->rows_pitch);
  p->swept_at[0] = planes.add(Block::kLines * p->swept_pitch[0]);
  add_tables<Block>(p, &planes);
  return 40 + 8.0 * ceil_div(p->columns, kMmaWarps) + 40 + 35.0 * p->steps + 300.0 * outputs / Block::kMostOutputs;
}

// Returns the alignment of all pixels, in 16-bit numbers: 8, 2 or 1.
inline int mma_alignment(int64_t channels, const void* x, const void* y) {
  const uintptr_t all = uintptr_t(channels) * 2 | reinterpret_cast<uintptr_t>(x) | reinterpret_cast<uintptr_t>(y);
  return all % 16 == 0 ? 8 : all % 4 == 0 ? 2 : 1;
}

// Chooses the strips and segments whose blocks take the least time.
template <class Block>
bool make_mma_plan(const Sg3FilteredLrelu& problem, int aligned, const SharedLimits& limits, MmaPlan* plan) {
  Block* const kind = nullptr;
  const int64_t chunks = (problem.channels + kMmaChannels - 1) / kMmaChannels;
  const int64_t most_blocks = (int64_t(1) << 31) - 1;
  const Sg3Axis &y = problem.down.y, &x = problem.down.x;
  const int64_t most_parts = ((y.out_size + 7) / 8) * ((x.out_size + 7) / 8);
  if (problem.batch * chunks * most_parts > most_blocks) return false;
  if (problem.channels * y.out_size * x.out_size > most_blocks) return false;
  MmaPlan p = {};
  p.y = mma_axis(problem.up.y, problem.down.y);
  p.x = mma_axis(problem.up.x, problem.down.x);
  const int up = int(problem.up.x.up);
  p.first_inner = std::max(p.x.up_before - up + 1, 0);
  p.end_inner = std::min(p.x.up_before + up * (p.x.in_size - kMmaTapsPerFactor) + 1, p.x.up_size);
  p.batch = int(problem.batch);
  p.channels = int(problem.channels);
  p.chunks = int(chunks);
  p.aligned = aligned;
  double least = std::numeric_limits<double>::infinity();
  for (int strips = 1; strips <= ceil_div(p.x.out_size, 8); ++strips) {
    divide(strips, &p.x);
    const double stripe = lay_out(&p, kind);
    const int64_t bytes = int64_t(p.shared_vectors) * 16;
    if (p.x.outputs > Block::kMostOutputs || bytes > limits.block) continue;
    const int resident = bytes > limits.pair ? 1 : 2;
    for (int segments = 1; segments <= ceil_div(p.y.out_size, 16); ++segments) {
      divide(segments, &p.y);
      const double samples = (p.y.outputs + 6) * Block::kDown;
      double waves = double(p.batch) * p.chunks * p.x.parts * p.y.parts / (limits.multiprocessors * resident);
      const bool few = waves < kMmaFewWaves;
      if (few) waves = std::ceil(waves);
      const double cost = waves * resident * (kMmaSetup + stripe * samples / Block::kLines) *
                          (resident == 1 ? kMmaSingleBlockPenalty : 1);
      if (cost < least) {
        least = cost;
        *plan = p;
      }
      if (!few) break;  // more segments only take longer
    }
  }
  return least < std::numeric_limits<double>::infinity();
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_PLAN_H_
