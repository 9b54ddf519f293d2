// Chooses the tiles of the general filtered_lrelu before every launch. Plain C++.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_PLAN_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_PLAN_H_

#include <algorithm>

#include "custom_ops/filtered_lrelu/cuda_block.h"
#include "custom_ops/resampling/cuda/plan.h"

namespace sg3::cuda {

// Returns the axis without its tiles.
inline LreluAxis lrelu_axis(const Sg3Axis& up, const Sg3Axis& down) {
  LreluAxis a = {};
  a.up = int(up.up);
  a.down = int(down.down);
  a.up_before = int(up.before);
  a.up_taps = ceil_div(int(up.taps), a.up) * a.up;
  a.down_before = int(down.before);
  a.down_taps = ceil_div(int(down.taps), a.down) * a.down;  // so that no sample lies between tiles
  a.in_size = int(up.in_size);
  a.up_size = int(up.out_size);
  a.out_size = int(down.out_size);
  return a;
}

inline void set_tile(LreluAxis* a, int outputs, bool covers_mask) {
  a->outputs = outputs;
  a->samples = ceil_div((outputs - 1) * a->down + a->down_taps, 2) * 2;  // an even number of rows fills whole warps
  a->inputs = line_inputs(a->samples, a->up, 1, a->up_taps);
  const int step = outputs * a->down;
  int64_t first = 0, last = ceil_div(a->out_size, outputs) - 1;
  if (covers_mask) {
    first = std::min<int64_t>(first, floor_div(a->down_before, step));
    const int64_t beyond_first = int64_t(a->up_size) - a->samples + a->down_before;
    last = std::max<int64_t>(last, -floor_div(-beyond_first, step));
  }
  a->first_tile = int(first);
  a->tiles = int(last - first + 1);
}

// Lays out the planes in shared memory. A plane overwrites one that is no longer needed.
inline void set_layout(LreluPlan* p) {
  const int lanes = SG3_MASK_CHANNELS;
  p->row_pitch = p->x.inputs | 1;
  p->sample_pitch = p->x.samples | 1;
  p->out_pitch = p->x.outputs | 1;
  const int64_t in = int64_t(p->y.inputs) * p->x.inputs * lanes;
  const int64_t rows = int64_t(p->y.samples) * p->row_pitch * lanes;
  const int64_t samples = int64_t(p->y.samples) * p->sample_pitch * lanes;
  const int64_t lines = int64_t(p->y.samples) * p->out_pitch * lanes;
  const int64_t out = int64_t(p->y.outputs) * p->x.outputs * lanes;
  const int64_t words = int64_t(p->y.samples) * p->x.samples;
  int64_t end = 0;
  const auto place = [&end](int64_t size) { return int((end += size) - size); };
  p->out_at = p->in_at = place(std::max(in, out));
  p->lines_at = p->rows_at = place(std::max(rows, lines));
  p->samples_at = place(samples);
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
  const int lanes = SG3_MASK_CHANNELS;
  Cost cost(p.threads);
  cost.add(y.inputs * x.inputs * lanes, kMemory);
  cost.add(x.inputs * lanes, double(y.samples) * y.up_taps / y.up, p.up_terms);
  cost.add(y.samples * x.samples * lanes, kActivation + double(x.up_taps) / x.up, p.up_terms);
  cost.add(y.samples * x.outputs * lanes, x.down_taps, p.down_terms);
  cost.add(x.outputs * lanes, double(y.outputs) * y.down_taps, p.down_terms);
  cost.add(y.outputs * x.outputs * lanes, kMemory);
  return cost.of(int64_t(y.tiles) * x.tiles);
}

// Returns a plan without tiles: see choose_tiles. `vectors` means that pixels begin at multiples of 16 bytes.
inline LreluPlan lrelu_plan(const Sg3FilteredLrelu& problem, int type, bool vectors) {
  LreluPlan p = {};
  p.y = lrelu_axis(problem.up.y, problem.down.y);
  p.x = lrelu_axis(problem.up.x, problem.down.x);
  p.batch = problem.batch;
  p.channels = problem.channels;
  p.chunks = (problem.channels + SG3_MASK_CHANNELS - 1) / SG3_MASK_CHANNELS;
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
  to = append_taps(problem.down.taps_y, problem.down.terms, problem.down.y.taps, 0, p.y.down_taps, to);
  append_taps(problem.down.taps_x, problem.down.terms, problem.down.x.taps, 0, p.x.down_taps, to);
}

// Gives the plan the cheapest tiles; returns false if none fit into shared memory.
inline bool choose_tiles(LreluPlan* plan, const SharedLimits& limits) {
  const bool covers_mask = plan->mode == SG3_ACTIVATE_AND_MASK;
  const auto set_height = [&](LreluPlan* p, int side) {
    set_tile(&p->y, even_tile(p->y.out_size, side, 1), covers_mask);
  };
  const auto set_width = [&](LreluPlan* p, int side) {
    set_tile(&p->x, even_tile(p->x.out_size, side, 1), covers_mask);
    set_layout(p);
  };
  return choose_cheapest_tiles(plan, limits, set_height, set_width, lrelu_cost);
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_PLAN_H_
