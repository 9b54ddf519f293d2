// Chooses strips and segments for filtered_lrelu on tensor cores, and scales and rounds its filters: plain C++, run
// before every launch.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_PLAN_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_PLAN_H_

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "custom_ops/filtered_lrelu/cuda_mma_block.h"
#include "custom_ops/resampling/cuda/plan.h"

namespace sg3::cuda {

// Blocks that keep a large GPU busy: two on each of 132 multiprocessors, twice. A guess, to be measured.
constexpr int64_t kMmaEnoughBlocks = 528;
constexpr int kMmaFewestRows = 32;  // of outputs in a segment, where more segments are wanted

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
  return has_mma_types(p, type) && p.up.terms == 1 && p.down.terms == 1 &&
         has_mma_factors(p.up.y, p.down.y, UP, DOWN) && has_mma_factors(p.up.x, p.down.x, UP, DOWN) && 0 <= p.slope &&
         p.slope <= 1 && p.clamp > 0 &&
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

// Calls f(MmaKernel()) for the problem; false where it is not for tensor cores. The third case is the gradient of the
// second.
template <class F>
bool with_mma_kernel(const Sg3FilteredLrelu& p, int type, F f) {
  if (has_mma_shape<2, 2>(p, type)) return with_mma_mode<MmaBlock, 2, 2>(p.mode, type, f), true;
  if (has_mma_shape<4, 2>(p, type)) return with_mma_mode<MmaBlock, 4, 2>(p.mode, type, f), true;
  if (p.mode == SG3_APPLY_MASK && has_mma_shape<2, 4>(p, type)) {
    return with_mma_element<MmaBlock, 2, 4, SG3_APPLY_MASK>(type, f), true;
  }
  return false;
}

// -- Filters ----------------------------------------------------------------------------------------------------------

// Rounds taps to T, such that the sum of every factor-th stays what it was as nearly as one step of each tap allows: a
// sum that is wrong would be an error of low frequencies, or make the phases of a filter differ.
template <class T>
void round_taps(std::vector<double>* taps, int factor) {
  const auto value = [](T x) { return double(to_float(x)); };
  // The next number in the direction of `step`; zeros stay.
  const auto neighbor = [&](T x, double step) {
    const bool grows = (value(x) < 0) == (step < 0);
    return value(x) == 0 ? x : T{uint16_t(x.bits + (grows ? 1 : -1))};
  };
  for (int phase = 0; phase < factor; ++phase) {
    std::vector<T> near;
    double missing = 0;
    for (size_t k = phase; k < taps->size(); k += factor) {
      T element;
      from_float(float((*taps)[k]), &element);
      near.push_back(element);
      missing += (*taps)[k] - value(element);
    }
    std::vector<bool> moved(near.size());
    while (true) {
      size_t best = near.size();
      double least = std::fabs(missing);
      for (size_t i = 0; i < near.size(); ++i) {
        const double rest = std::fabs(missing - (value(neighbor(near[i], missing)) - value(near[i])));
        if (!moved[i] && rest < least) best = i, least = rest;
      }
      if (best == near.size()) break;
      const double before = value(near[best]);
      near[best] = neighbor(near[best], missing);
      missing -= value(near[best]) - before;
      moved[best] = true;
    }
    for (size_t i = 0; i < near.size(); ++i) (*taps)[phase + i * factor] = value(near[i]);
  }
}

// The power of two by which a filter is divided such that its outputs are at most as large as its inputs.
inline double mma_gain(const double* taps, int64_t count, int64_t factor) {
  double gain = 0;
  for (int64_t phase = 0; phase < factor; ++phase) {
    double total = 0;
    for (int64_t k = phase; k < count; k += factor) total += std::fabs(taps[k]);
    gain = std::max(gain, total);
  }
  return gain > 0 ? std::exp2(std::ceil(std::log2(gain))) : 1;
}

// Scales and rounds one filter, and multiplies *scale by what it was divided by.
template <class T>
void copy_mma_filter(const double* from, int64_t count, int64_t phases, int64_t factor, bool rounds, float* to,
                     double* scale) {
  const double gain = mma_gain(from, count, phases);
  std::vector<double> taps(from, from + count);
  for (double& tap : taps) tap /= gain;
  if (rounds) round_taps<T>(&taps, int(factor));
  for (int k = 0; k < 24; ++k) to[k] = k < count ? float(taps[k]) : 0.f;
  *scale *= gain;
}

// Fills in the filters, and the numbers of the plan that depend on their scales.
template <class Kernel>
MmaTaps make_mma_taps(const Sg3FilteredLrelu& p, MmaPlan* plan) {
  using Inner = typename Kernel::Block::Inner;
  MmaTaps taps = {};
  double up = 1, down = 1;
  // The first filter of a bfloat16 image is applied in two parts.
  const bool rounds_first = kIsHalf<typename Kernel::Element>;
  copy_mma_filter<Inner>(p.up.taps_y, p.up.y.taps, p.up.y.up, p.up.y.up, rounds_first, taps.up_y, &up);
  copy_mma_filter<Inner>(p.up.taps_x, p.up.x.taps, p.up.x.up, p.up.x.up, true, taps.up_x, &up);
  copy_mma_filter<Inner>(p.down.taps_y, p.down.y.taps, 1, p.down.y.down, true, taps.down_y, &down);
  copy_mma_filter<Inner>(p.down.taps_x, p.down.x.taps, 1, p.down.x.down, true, taps.down_x, &down);
  // The sum of a product is z / up; the sample that is kept is scale * act(z).
  const double scale = std::isfinite(p.clamp) && p.mode != SG3_APPLY_MASK ? kHalfMax / p.clamp : 1 / up;
  plan->linear = float((1 + p.slope) / 2 * scale * up);
  plan->bent = float((1 - p.slope) / 2 * scale * up);
  plan->bound = std::isfinite(p.clamp) ? kHalfMax : std::numeric_limits<float>::infinity();
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

template <class T, int UP, int DOWN, int MODE>
void lay_out(MmaPlan* p, MmaBlock<T, UP, DOWN, MODE>*) {
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
}

// The time of a stripe of all strips: products and the nonlinearity, in units of one column's first pass.
template <class T, int UP, int DOWN, int MODE>
double strip_cost(const MmaPlan& p, MmaBlock<T, UP, DOWN, MODE>*) {
  const double products = p.columns + 16.0 * p.steps * 4 + p.x.outputs * double(DOWN) / 2;
  return products * p.x.parts;
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
    lay_out(&p, kind);
    p.by_columns = Divisor::of(p.columns);
    p.by_outputs = Divisor::of(p.x.outputs);
    const bool holds_rows = Block::kNewRows * p.columns * 2 <= kMmaHeldVectors * kMmaThreads;
    if (!holds_rows || p.x.outputs > Block::kMostOutputs || p.shared_vectors * 16 > limits.pair) continue;
    const double cost = strip_cost(p, kind);
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
