// The choice of tiles for a filtered_lrelu, before every launch. Plain C++.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_PLAN_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_PLAN_H_

#include <algorithm>
#include <numeric>
#include <type_traits>

#include "custom_ops/filtered_lrelu/cuda_block.h"
#include "custom_ops/resampling/cuda/plan.h"

namespace sg3::cuda {

// Returns the axis without its tiles. `align` is for the x axis of fixed shapes: their sweep needs each group of `down`
// samples that is new to an output to begin at a multiple of the `up` samples that an input completes. Zeros in front
// of the downsampling filter achieve that modulo the common divisor of `up` and `down`, and `lead` does the rest.
inline LreluAxis lrelu_axis(const Sg3Axis& up, const Sg3Axis& down, bool align) {
  LreluAxis a = {};
  a.up = int(up.up);
  a.down = int(down.down);
  a.up_before = int(up.before);
  a.up_taps = ceil_div(int(up.taps), a.up) * a.up;
  if (align) a.shift = int(modulo(-(up.before + 1 + down.before), std::gcd(a.up, a.down)));
  a.down_before = int(down.before) + a.shift;
  a.down_taps = ceil_div(int(down.taps) + a.shift, a.down) * a.down;
  while (align && modulo(a.down_before + a.lead + a.up_before + 1, a.up) != 0) a.lead += a.down;
  a.in_size = int(up.in_size);
  a.up_size = int(up.out_size);
  a.out_size = int(down.out_size);
  return a;
}

inline void set_tile(LreluAxis* a, int outputs, bool align, bool covers_mask) {
  a->outputs = outputs;
  const int needed = a->lead + (outputs - 1) * a->down + a->down_taps;
  const int unit = align ? std::lcm(a->up, a->down) : 2;  // an even number of rows fills whole warps
  a->samples = ceil_div(needed, unit) * unit;
  a->inputs = align ? a->samples / a->up + a->up_taps / a->up - 1 : line_inputs(a->samples, a->up, 1, a->up_taps);
  const int step = outputs * a->down;
  int64_t first = 0, last = ceil_div(a->out_size, outputs) - 1;
  if (covers_mask) {
    first = std::min<int64_t>(first, floor_div(a->down_before, step));
    const int64_t beyond_first = int64_t(a->up_size) - a->samples + a->down_before + a->lead;
    last = std::max<int64_t>(last, -floor_div(-beyond_first, step));
  }
  a->first_tile = int(first);
  a->tiles = int(last - first + 1);
}

// Lays out the planes in shared memory. A plane takes the place of one that is no longer needed.
inline void set_layout(LreluPlan* p, bool fixed) {
  const int lanes = p->lanes;
  p->row_pitch = p->x.inputs | 1;
  p->sample_pitch = p->x.samples | 1;
  p->out_pitch = p->x.outputs | 1;
  const int64_t in = int64_t(p->y.inputs) * p->x.inputs * lanes;
  const int64_t rows = int64_t(p->y.samples) * p->row_pitch * lanes;
  const int64_t samples = int64_t(p->y.samples) * p->sample_pitch * lanes;
  const int64_t swept = int64_t(p->y.samples) * p->out_pitch * lanes;
  const int64_t out = int64_t(p->y.outputs) * p->x.outputs * lanes;
  const int64_t words = int64_t(p->y.samples) * p->x.samples;
  int64_t end = 0;
  const auto place = [&end](int64_t size) { return int((end += size) - size); };
  if (fixed) {
    const bool reuse_in = p->up_terms == 1, reuse_rows = reuse_in && p->down_terms == 1;
    p->in_at = place(reuse_in ? std::max(in, swept) : in);
    p->rows_at = place(reuse_rows ? std::max(rows, out) : rows);
    p->swept_at = reuse_in ? p->in_at : place(swept);
    p->out_at = reuse_rows ? p->rows_at : place(out);
  } else {
    p->out_at = p->in_at = place(std::max(in, out));
    p->swept_at = p->rows_at = place(std::max(rows, swept));
    p->samples_at = place(samples);
  }
  p->words_at = place(p->mode == SG3_ACTIVATE ? 0 : words);
  p->shared_floats = end;
  p->in_columns = Divisor::of(p->x.inputs);
  p->sample_columns = Divisor::of(p->x.samples);
  p->out_columns = Divisor::of(p->x.outputs);
}

// Estimates the time of all blocks of one image and chunk.
inline double lrelu_cost(const LreluPlan& p) {
  constexpr double kMemory = 8, kActivation = 6;  // a memory access and the nonlinearity, in multiplications
  const LreluAxis &y = p.y, &x = p.x;
  const int passes = p.up_terms * p.down_terms;
  Cost cost(p.threads);
  cost.add(y.inputs * x.inputs * p.lanes, kMemory);
  cost.add(x.inputs * p.lanes, double(y.inputs) * y.up_taps, p.up_terms);
  const double sweep = double(x.inputs) * x.up_taps + x.samples * (kActivation + double(x.down_taps) / x.down);
  cost.add(y.samples * p.lanes, sweep, passes);
  cost.add(x.outputs * p.lanes, double(y.samples) * y.down_taps / y.down, passes);
  cost.add(y.outputs * x.outputs * p.lanes, kMemory);
  return cost.of(int64_t(y.tiles) * x.tiles);
}

// Returns a plan without lanes and tiles: see choose_tiles. `vectors` means that pixels begin at multiples of 16 bytes.
inline LreluPlan lrelu_plan(const Sg3FilteredLrelu& problem, int type, bool vectors, bool fixed) {
  LreluPlan p = {};
  p.y = lrelu_axis(problem.up.y, problem.down.y, false);
  p.x = lrelu_axis(problem.up.x, problem.down.x, fixed);
  p.batch = problem.batch;
  p.channels = problem.channels;
  p.mode = problem.mode;
  p.type = type;
  p.vectors = vectors;
  p.slope = float(problem.slope);
  p.clamp = float(problem.clamp);
  p.up_terms = int(problem.up.terms);
  p.down_terms = int(problem.down.terms);
  p.up_x = p.up_terms * p.y.up_taps;
  p.down_y = p.up_x + p.up_terms * p.x.up_taps;
  p.down_x = p.down_y + p.down_terms * p.y.down_taps;
  return p;
}

inline int64_t num_taps(const LreluPlan& p) { return p.down_x + int64_t(p.down_terms) * p.x.down_taps; }

inline void copy_taps(const Sg3FilteredLrelu& problem, const LreluPlan& p, float* to) {
  to = append_taps(problem.up.taps_y, problem.up.terms, problem.up.y.taps, 0, p.y.up_taps, to);
  to = append_taps(problem.up.taps_x, problem.up.terms, problem.up.x.taps, 0, p.x.up_taps, to);
  to = append_taps(problem.down.taps_y, problem.down.terms, problem.down.y.taps, p.y.shift, p.y.down_taps, to);
  append_taps(problem.down.taps_x, problem.down.terms, problem.down.x.taps, p.x.shift, p.x.down_taps, to);
}

// Gives the plan lanes and the cheapest tiles; returns false if none fit into shared memory.
template <class Shape>
bool choose_tiles(LreluPlan* plan, const SharedLimits& limits) {
  constexpr bool fixed = Shape::kFixed;
  plan->lanes = Shape::kLanes;
  plan->chunks = (plan->channels + Shape::kLanes - 1) / Shape::kLanes;
  const bool covers_mask = plan->mode == SG3_ACTIVATE_AND_MASK;
  const int unit = fixed ? std::lcm(plan->x.up, plan->x.down) / plan->x.down : 1;
  const auto set_height = [&](LreluPlan* p, int side) {
    set_tile(&p->y, even_tile(p->y.out_size, side, 1), false, covers_mask);
  };
  const auto set_width = [&](LreluPlan* p, int side) {
    set_tile(&p->x, even_tile(p->x.out_size, side, unit), fixed, covers_mask);
    set_layout(p, fixed);
  };
  return choose_cheapest_tiles(plan, limits, set_height, set_width, lrelu_cost);
}

template <int MODE>
using Mode = std::integral_constant<int, MODE>;

// Calls f(AnyShape(), Mode<>()).
template <class F>
void with_any_shape(const LreluPlan& p, F f) {
  if (p.mode == SG3_ACTIVATE) f(AnyShape(), Mode<SG3_ACTIVATE>());
  if (p.mode == SG3_ACTIVATE_AND_MASK) f(AnyShape(), Mode<SG3_ACTIVATE_AND_MASK>());
  if (p.mode == SG3_APPLY_MASK) f(AnyShape(), Mode<SG3_APPLY_MASK>());
}

template <class Shape, int... MODES, class F>
bool with_shape_if_matching(const LreluPlan& p, F f) {
  if (!Shape::matches(p.y, p.x) || (p.mode != SG3_APPLY_MASK && p.up_terms > 1)) return false;
  return ((p.mode == MODES && (f(Shape(), Mode<MODES>()), true)) || ...);
}

// Calls f(FixedShape(), Mode<>()) for the shape of the plan; returns false if it is not compiled in. Those that are
// belong to StyleGAN3: in its layers, the paddings of equal factors never need a shift, and those of others always do.
// The largest neighborhoods, those of gradients, have 8 lanes, so that more of a tile is output and less is margin.
template <class F>
bool with_fixed_shape(const LreluPlan& p, F f) {
  constexpr auto kOff = SG3_ACTIVATE, kOn = SG3_ACTIVATE_AND_MASK, kApply = SG3_APPLY_MASK;
  return with_shape_if_matching<FixedShape<2, 12, 2, 12, 0, 16>, kOff, kOn, kApply>(p, f) ||
         with_shape_if_matching<FixedShape<4, 24, 2, 12, 1, 16>, kOff, kOn, kApply>(p, f) ||
         with_shape_if_matching<FixedShape<2, 12, 4, 24, 1, 8>, kApply>(p, f) ||
         with_shape_if_matching<FixedShape<1, 1, 1, 1, 0, 16>, kOff, kOn, kApply>(p, f);
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_PLAN_H_
