// Chooses strips and segments for filtered_lrelu on tensor cores: plain C++, run before every launch.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_PLAN_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_PLAN_H_

#include <algorithm>
#include <limits>
#include <numeric>

#include "custom_ops/filtered_lrelu/cuda_mma_block.h"
#include "custom_ops/resampling/cuda/plan.h"

namespace sg3::cuda {

// Blocks that keep a large GPU busy: two on each of 132 multiprocessors, twice. A guess, to be measured.
constexpr int64_t kMmaEnoughBlocks = 528;
constexpr int kMmaFewestRows = 32;  // of outputs in a segment, where more segments are wanted

template <int UP, int DOWN>
struct MmaShape {
  static constexpr int kUp = UP, kDown = DOWN;
};

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

template <int UP, int DOWN>
bool has_mma_shape(const Sg3FilteredLrelu& p, int type) {
  return (type == SG3_FLOAT16 || type == SG3_BFLOAT16) && p.up.terms == 1 && p.down.terms == 1 &&
         has_mma_factors(p.up.y, p.down.y, UP, DOWN) && has_mma_factors(p.up.x, p.down.x, UP, DOWN) && 0 <= p.slope &&
         p.slope <= 1 && p.clamp >= 0 &&
         (p.mode != SG3_ACTIVATE_AND_MASK || (covers_mask(p.down.y, DOWN) && covers_mask(p.down.x, DOWN)));
}

// Calls f(MmaShape()) for the factors of the problem; false where these are not for tensor cores. The third shape is
// the gradient of the second.
template <class F>
bool with_mma_shape(const Sg3FilteredLrelu& p, int type, F f) {
  if (has_mma_shape<2, 2>(p, type)) return f(MmaShape<2, 2>()), true;
  if (has_mma_shape<4, 2>(p, type)) return f(MmaShape<4, 2>()), true;
  if (has_mma_shape<2, 4>(p, type)) return f(MmaShape<2, 4>()), true;
  return false;
}

inline MmaAxis mma_axis(const Sg3Axis& up, const Sg3Axis& down) {
  return {int(up.before), int(down.before), int(up.in_size), int(up.out_size), int(down.out_size), 0, 0};
}

template <int UP, int DOWN>
void set_strip(MmaPlan* p, int outputs) {
  using Block = MmaBlock<Half, UP, DOWN, SG3_ACTIVATE>;
  p->x.outputs = outputs;
  p->x.parts = ceil_div(p->x.out_size, outputs);
  p->steps = outputs / 8 * Block::kAdvance + Block::kReach - Block::kAdvance;
  p->columns = (p->steps - 1) * Block::kNew + 16;
  p->in_pitch = p->rows_pitch = 2 * p->columns + 1;
  p->swept_pitch = p->out_pitch = 2 * outputs + 1;
  const int in = 16 * p->in_pitch, rows = std::max(16 * p->rows_pitch, 8 * p->out_pitch);
  const int swept = Block::kReach * 16 * p->swept_pitch, filters = Block::kFilters * 64 * 4 / 16;
  p->in_at = 0;
  p->rows_at = p->out_at = in;  // the output plane takes the place of rows that are swept already
  p->swept_at = in + rows;
  p->filters_at = in + rows + swept;
  p->shared_vectors = in + rows + swept + filters;
  p->by_columns = Divisor::of(p->columns);
  p->by_outputs = Divisor::of(outputs);
}

// The time of a stripe of all strips: products and the nonlinearity, in units of one column's first pass.
template <int UP, int DOWN>
double strip_cost(const MmaPlan& p) {
  const double products = p.columns + 16.0 * p.steps * 4 + p.x.outputs * double(DOWN) / 2;
  return products * p.x.parts;
}

template <int UP, int DOWN>
bool make_mma_plan(const Sg3FilteredLrelu& problem, bool vectors, const SharedLimits& limits, MmaPlan* plan) {
  using Block = MmaBlock<Half, UP, DOWN, SG3_ACTIVATE>;
  MmaPlan p = {};
  p.y = mma_axis(problem.up.y, problem.down.y);
  p.x = mma_axis(problem.up.x, problem.down.x);
  p.batch = problem.batch;
  p.channels = problem.channels;
  p.chunks = (problem.channels + kMmaChannels - 1) / kMmaChannels;
  p.vectors = vectors;
  p.slope = float(problem.slope);
  p.clamp = float(problem.clamp);
  double least = std::numeric_limits<double>::infinity();
  for (int parts = 1; parts <= ceil_div(p.x.out_size, 8); ++parts) {
    set_strip<UP, DOWN>(&p, ceil_div(ceil_div(p.x.out_size, parts), 8) * 8);
    if (Block::kNew * p.columns * 2 > kMmaHeldVectors * kMmaThreads || p.shared_vectors * 16 > limits.pair) continue;
    const double cost = strip_cost<UP, DOWN>(p);
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

inline void copy_filter(const double* from, const Sg3Axis& axis, double scale, float (&to)[24]) {
  for (int k = 0; k < 24; ++k) to[k] = k < axis.taps ? float(from[k] * scale) : 0.f;
}

// Upsampling along y gets a gain of at most 1, and x the rest, so that no 16-bit number between them overflows.
inline MmaTaps mma_taps(const Sg3FilteredLrelu& p) {
  double gain = 0;
  for (int64_t phase = 0; phase < p.up.y.up; ++phase) {
    double total = 0;
    for (int64_t k = phase; k < p.up.y.taps; k += p.up.y.up) total += std::fabs(p.up.taps_y[k]);
    gain = std::max(gain, total);
  }
  gain = gain > 0 ? std::exp2(std::ceil(std::log2(gain))) : 1;
  MmaTaps taps;
  copy_filter(p.up.taps_y, p.up.y, 1 / gain, taps.up_y);
  copy_filter(p.up.taps_x, p.up.x, gain, taps.up_x);
  copy_filter(p.down.taps_y, p.down.y, 1, taps.down_y);
  copy_filter(p.down.taps_x, p.down.x, 1, taps.down_x);
  return taps;
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_PLAN_H_
