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

// Blocks that keep a large GPU busy: two on each of 132 multiprocessors, twice. A guess, to be measured.
constexpr int64_t kMmaEnoughBlocks = 528;
constexpr int kMmaFewestRows = 32;  // of outputs in a segment, where more segments are wanted
// The price of shared memory that leaves no room for a second block on a multiprocessor. Likewise a guess.
constexpr double kMmaSingleBlockPenalty = 1.5;

// -- What is supported ------------------------------------------------------------------------------------------------

inline bool has_mma_factors(const Sg3Axis& up, const Sg3Axis& down, int up_factor, int down_factor) {
  return up.up == up_factor && down.down == down_factor && up.taps <= kMmaTapsPerFactor * up_factor &&
         down.taps <= kMmaTapsPerFactor * down_factor;
}

// True if every upsampled sample has a block to write its mask word: none lies before the first output's
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

// Calls f(MmaKernel()) for the problem; false where it is not for tensor cores. Upsampling by 2 before downsampling by
// 4, or by a filter of several terms, occurs in gradients only.
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

// Rounds taps to T, such that their sum stays what it was as nearly as one step of each tap allows: a wrong sum would
// be an error of low frequencies, or make the phases of a filter differ.
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

  // Pointers to the taps of a phase: every factor-th along both axes, or along the only one.
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

  template <int SIZE>
  void copy(float (&to)[SIZE], int pitch) const {
    for (int y = 0; y < height; ++y) std::copy_n(&taps[y * width], width, to + y * pitch);
  }
};

// Scales and rounds a stage's filter, and returns what it was divided by. `up` and `down` are the factors.
template <class Inner>
double make_mma_filters(const Sg3Stage& stage, bool radial, bool rounds_y, float (&y)[24], float (&x)[24],
                        MmaTaps* taps) {
  const int up = int(stage.y.up), factor = int(stage.y.up * stage.y.down);
  if (radial) {
    MmaFilter filter = {int(stage.y.taps), int(stage.x.taps), std::vector<double>(stage.y.taps * stage.x.taps)};
    for (int64_t term = 0; term < stage.terms; ++term) {
      for (size_t i = 0; i < filter.taps.size(); ++i) {
        const int64_t row = i / stage.x.taps, column = i % stage.x.taps;
        filter.taps[i] += stage.taps_y[term * stage.y.taps + row] * stage.taps_x[term * stage.x.taps + column];
      }
    }
    const double gain = filter.normalize(up);
    filter.round<Inner>(factor);
    filter.copy(taps->radial, kMmaRadialTaps);
    return gain;
  }
  MmaFilter filter_y = {1, int(stage.y.taps), {stage.taps_y, stage.taps_y + stage.y.taps}};
  MmaFilter filter_x = {1, int(stage.x.taps), {stage.taps_x, stage.taps_x + stage.x.taps}};
  const double gain = filter_y.normalize(up) * filter_x.normalize(up);
  if (rounds_y) filter_y.round<Inner>(factor);
  filter_x.round<Inner>(factor);
  filter_y.copy(y, 0);
  filter_x.copy(x, 0);
  return gain;
}

// Fills in the filters, and the numbers of the plan that depend on their scales.
template <class Kernel>
MmaTaps make_mma_taps(const Sg3FilteredLrelu& p, MmaPlan* plan) {
  using Inner = typename Kernel::Block::Inner;
  constexpr MmaRadial kRadial = Kernel::Block::kRadial;
  // The first filter of a bfloat16 image is applied in two parts.
  const bool rounds_first = kIsHalf<typename Kernel::Element>;
  MmaTaps taps = {};
  const double up = make_mma_filters<Inner>(p.up, kRadial == MmaRadial::kUp, rounds_first, taps.up_y, taps.up_x, &taps);
  const double down =
      make_mma_filters<Inner>(p.down, kRadial == MmaRadial::kDown, true, taps.down_y, taps.down_x, &taps);
  // The sum of a product is z / up; the sample that is kept is scale * act(z).
  const double scale = std::isfinite(p.clamp) && p.mode != SG3_APPLY_MASK ? kHalfMax / p.clamp : 1 / up;
  plan->linear = float((1 + p.slope) / 2 * scale * up);
  plan->bent = float((1 - p.slope) / 2 * scale * up);
  plan->slope = float(p.slope);
  plan->out_scale = float(down / scale);
  return taps;
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

// Lays out the planes of a strip, and returns the time of 16 rows of samples of all strips, in instructions of a warp.
template <class T, int UP, int DOWN, int MODE>
double lay_out(MmaPlan* p, MmaBlock<T, UP, DOWN, MODE>*) {
  using Block = MmaBlock<T, UP, DOWN, MODE>;
  const int outputs = p->x.outputs;
  p->steps = outputs / 8 * Block::kAdvance + Block::kReach - Block::kAdvance;
  p->columns = (p->steps - 1) * Block::kNewColumns + 16;
  p->in_pitch = p->rows_pitch = 2 * p->columns + 1;
  p->swept_pitch = p->out_pitch = 2 * outputs + 1;
  MmaPlanes planes;
  p->in_at = planes.add(16 * p->in_pitch);
  // The output plane takes the place of rows that are swept already.
  p->rows_at = p->out_at = planes.add(std::max(Block::kLines * p->rows_pitch, 8 * p->out_pitch));
  p->swept_at = planes.add(Block::kSweptParts * Block::kSweptLines * p->swept_pitch);
  p->filters_at = planes.add(Block::kFilters * 16);
  p->gains_at = planes.add(Block::kHasBias ? kMmaColumnsAt / 4 + p->steps * 4 : 0);
  p->shared_vectors = planes.end();
  return p->x.parts * (8.0 * p->columns + 16 * 50.0 * p->steps + 8.0 * outputs * Block::kSweptParts);
}

template <class T, int UP, int DOWN, int MODE>
double lay_out(MmaPlan* p, MmaRadialUpBlock<T, UP, DOWN, MODE>*) {
  using Block = MmaRadialUpBlock<T, UP, DOWN, MODE>;
  const int outputs = p->x.outputs;
  p->steps = outputs / 8 * Block::kAdvance + Block::kReach - Block::kAdvance;
  p->columns = (p->steps - 1) * Block::kNewColumns + 16;
  p->in_pitch = 2 * p->columns + 1;
  p->swept_pitch = p->out_pitch = 2 * outputs + 1;
  MmaPlanes planes;
  p->in_at = planes.add(16 * p->in_pitch);
  p->swept_at = planes.add(Block::kSweptLines * p->swept_pitch);
  p->out_at = planes.add(8 * p->out_pitch);
  p->filters_at = planes.add(Block::kFilters * 16);
  p->shared_vectors = planes.end();
  return p->x.parts * (16 * 80.0 * p->steps + 8.0 * outputs);
}

template <class T, int UP, int DOWN, int MODE>
double lay_out(MmaPlan* p, MmaRadialDownBlock<T, UP, DOWN, MODE>*) {
  using Block = MmaRadialDownBlock<T, UP, DOWN, MODE>;
  const int outputs = p->x.outputs;
  p->steps = outputs / 8 + Block::kSteps - 1;
  p->columns = (p->steps - 1) * Block::kNewColumns + 16;
  p->in_pitch = p->rows_pitch = 2 * p->columns + 1;
  p->swept_pitch = 2 * 16 * p->steps + 1;
  p->out_pitch = 2 * outputs + 1;
  MmaPlanes planes;
  p->in_at = planes.add(16 * p->in_pitch);
  p->rows_at = planes.add(Block::kLines * p->rows_pitch);
  p->swept_at = planes.add(Block::kLines * p->swept_pitch);
  p->out_at = planes.add(Block::kNewOutputs * p->out_pitch);
  p->filters_at = planes.add(Block::kFilters * 16);
  p->gains_at = planes.add(Block::kHasBias ? kMmaColumnsAt / 4 + p->steps * 4 : 0);
  p->shared_vectors = planes.end();
  return p->x.parts * (2 * 8.0 * p->columns + 16 * 45.0 * p->steps + 16 * 18.0 * outputs / 8);
}

template <class Block>
bool make_mma_plan(const Sg3FilteredLrelu& problem, bool vectors, const SharedLimits& limits, MmaPlan* plan) {
  Block* const kind = nullptr;
  MmaPlan p = {};
  p.y = mma_axis(problem.up.y, problem.down.y);
  p.x = mma_axis(problem.up.x, problem.down.x);
  p.batch = problem.batch;
  p.channels = problem.channels;
  p.chunks = (problem.channels + kMmaChannels - 1) / kMmaChannels;
  p.vectors = vectors;
  double least = std::numeric_limits<double>::infinity();
  for (int parts = 1; parts <= ceil_div(p.x.out_size, 8); ++parts) {
    p.x.outputs = ceil_div(ceil_div(p.x.out_size, parts), 8) * 8;
    p.x.parts = ceil_div(p.x.out_size, p.x.outputs);
    double cost = lay_out(&p, kind);
    p.by_columns = Divisor::of(p.columns);
    p.by_outputs = Divisor::of(p.x.outputs);
    const bool holds_rows = Block::kNewRows * p.columns * 2 <= Block::kHeldVectors * kMmaThreads;
    if (!holds_rows || p.x.outputs > Block::kMostOutputs || p.shared_vectors * 16 > limits.block) continue;
    if (p.shared_vectors * 16 > limits.pair) cost *= kMmaSingleBlockPenalty;
    if (cost < least) {
      least = cost;
      *plan = p;
    }
  }
  if (least == std::numeric_limits<double>::infinity()) return false;
  const int64_t blocks = p.batch * p.chunks * plan->x.parts;
  const int64_t most = std::max(1, p.y.out_size / kMmaFewestRows);
  const int segments = int(std::clamp((kMmaEnoughBlocks + blocks - 1) / blocks, int64_t(1), most));
  plan->y.outputs = ceil_div(ceil_div(p.y.out_size, segments), 8) * 8;
  plan->y.parts = ceil_div(p.y.out_size, plan->y.outputs);
  return true;
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_PLAN_H_
