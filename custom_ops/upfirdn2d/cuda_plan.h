// Chooses the tiles of the general upfirdn2d before every launch. Plain C++.

#ifndef SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_PLAN_H_
#define SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_PLAN_H_

#include <algorithm>

#include "custom_ops/resampling/cuda/plan.h"
#include "custom_ops/upfirdn2d/cuda_block.h"
#include "custom_ops/upfirdn2d/problem.h"

namespace sg3::cuda {

inline UpfirdnAxis upfirdn_axis(const Sg3Axis& axis) {
  UpfirdnAxis a = {};
  a.up = int(axis.up);
  a.down = int(axis.down);
  a.before = int(axis.before);
  a.taps = int(axis.taps);
  a.in_size = int(axis.in_size);
  a.out_size = int(axis.out_size);
  return a;
}

// Returns a plan without tiles and lanes: see choose_tiles. `vectors` means that pixels begin at multiples of 16 bytes.
inline UpfirdnPlan upfirdn_plan(const Sg3Upfirdn2d& problem, int type, bool vectors) {
  UpfirdnPlan p = {};
  p.y = upfirdn_axis(problem.stage.y);
  p.x = upfirdn_axis(problem.stage.x);
  p.batch = problem.batch;
  p.channels = problem.channels;
  p.type = type;
  p.vectors = vectors;
  p.terms = int(problem.stage.terms);
  return p;
}

inline int64_t num_taps(const UpfirdnPlan& p) { return int64_t(p.terms) * (p.y.taps + p.x.taps); }

inline void copy_taps(const Sg3Upfirdn2d& problem, const UpfirdnPlan& p, float* to) {
  const Sg3Stage& stage = problem.stage;
  to = append_taps(stage.taps_y, stage.terms, stage.y.taps, 0, p.y.taps, to);
  append_taps(stage.taps_x, stage.terms, stage.x.taps, 0, p.x.taps, to);
}

inline void set_tile(UpfirdnAxis* a, int outputs) {
  a->outputs = outputs;
  a->inputs = line_inputs(outputs, a->up, a->down, a->taps);
  a->tiles = ceil_div(a->out_size, outputs);
}

// Lays out the planes in shared memory. With one term, the output overwrites the input.
inline void set_layout(UpfirdnPlan* p) {
  p->row_pitch = p->x.inputs | 1;
  const int64_t in = int64_t(p->y.inputs) * p->x.inputs * p->lanes;
  const int64_t rows = int64_t(p->y.outputs) * p->row_pitch * p->lanes;
  const int64_t out = int64_t(p->y.outputs) * p->x.outputs * p->lanes;
  int64_t end = 0;
  const auto place = [&end](int64_t size) { return int((end += size) - size); };
  p->in_at = place(p->terms == 1 ? std::max(in, out) : in);
  p->rows_at = place(rows);
  p->out_at = p->terms == 1 ? p->in_at : place(out);
  p->shared_floats = end;
  p->in_columns = Divisor::of(p->x.inputs);
  p->out_columns = Divisor::of(p->x.outputs);
}

// Estimates the time of all blocks of one image and chunk.
inline double upfirdn_cost(const UpfirdnPlan& p) {
  constexpr double kMemory = 8;  // a memory access, in multiplications
  const UpfirdnAxis &y = p.y, &x = p.x;
  Cost cost(p.threads);
  cost.add(y.inputs * x.inputs * p.lanes, kMemory);
  cost.add(x.inputs * p.lanes, double(y.inputs + y.outputs) * y.taps / y.up, p.terms);
  cost.add(y.outputs * p.lanes, double(x.inputs + x.outputs) * x.taps / x.up, p.terms);
  cost.add(y.outputs * x.outputs * p.lanes, kMemory);
  return cost.of(int64_t(y.tiles) * x.tiles);
}

// Gives the plan the cheapest tiles for its lanes; returns false if none fit into shared memory.
inline bool choose_tiles_of_lanes(UpfirdnPlan* plan, const SharedLimits& limits) {
  const auto set_height = [](UpfirdnPlan* p, int side) { set_tile(&p->y, even_tile(p->y.out_size, side, 1)); };
  const auto set_width = [](UpfirdnPlan* p, int side) {
    set_tile(&p->x, even_tile(p->x.out_size, side, 1));
    set_layout(p);
  };
  return choose_cheapest_tiles(plan, limits, set_height, set_width, upfirdn_cost);
}

// Chooses lanes and tiles; returns false if nothing fits. Few channels, as in images, take few lanes, and so do long
// filters, which leave no room for more.
inline bool choose_tiles(UpfirdnPlan* plan, const SharedLimits& limits) {
  const int vector = 16 / bytes_of(plan->type);
  const bool vectors = plan->vectors;
  for (int lanes = plan->channels <= 4 ? 4 : plan->channels <= 8 ? 8 : 16; lanes >= 4; lanes /= 2) {
    plan->lanes = lanes;
    plan->chunks = (plan->channels + lanes - 1) / lanes;
    plan->vectors = vectors && lanes % vector == 0;
    if (choose_tiles_of_lanes(plan, limits)) return true;
  }
  return false;
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_PLAN_H_
