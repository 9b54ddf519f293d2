// Chooses the strips and segments of the sweeping filtered_lrelu kernel before every launch. Plain C++.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_SWEEP_PLAN_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_SWEEP_PLAN_H_

#include <algorithm>
#include <cmath>
#include <limits>

#include "custom_ops/filtered_lrelu/cuda_sweep_block.h"
#include "custom_ops/resampling/cuda/plan.h"

namespace sg3::cuda {

// The factor by which a block that has a multiprocessor to itself is slower than one of two. A guess, to be measured.
constexpr double kSweepSingleBlockPenalty = 1.3;

// Returns the shape without its capacity.
inline SweepShape sweep_shape(const Sg3FilteredLrelu& p) {
  return {int(p.up.x.up), int(p.down.x.down), int(p.up.terms), int(p.down.terms), 0};
}

// Returns true if the horizontal filters of the stage are even, up to what float32 resolves in the sum of its terms.
inline bool is_even(const Sg3Stage& stage) {
  double difference = 0, total = 0;
  for (int64_t term = 0; term < stage.terms; ++term) {
    const double *x = stage.taps_x + term * stage.x.taps, *y = stage.taps_y + term * stage.y.taps;
    double largest_y = 0, largest_x = 0, largest_difference = 0;
    for (int64_t k = 0; k < stage.y.taps; ++k) largest_y = std::max(largest_y, std::fabs(y[k]));
    for (int64_t k = 0; k < stage.x.taps; ++k) {
      largest_x = std::max(largest_x, std::fabs(x[k]));
      largest_difference = std::max(largest_difference, std::fabs(x[k] - x[stage.x.taps - 1 - k]));
    }
    difference += largest_y * largest_difference;
    total += largest_y * largest_x;
  }
  return difference <= std::exp2(-26) * total;
}

inline bool has_sweep_factors(const Sg3Axis& up, const Sg3Axis& down, const SweepShape& shape) {
  return up.up == shape.up && down.down == shape.down && up.taps <= kSweepTapsPerFactor * shape.up &&
         down.taps <= kSweepTapsPerFactor * shape.down && modulo(up.before + down.before, shape.up) == shape.phase();
}

// Returns true if every sample has a block that writes its mask word: none lies before the first output's neighborhood
// or beyond the last one's.
inline bool covers_samples(const Sg3Axis& down) {
  return down.before >= 0 && (down.out_size + kSweepCarried) * down.down - down.before >= down.in_size;
}

// Returns true for the layers of StyleGAN3, and for anything else with their factors and alignment.
inline bool has_sweep_shape(const Sg3FilteredLrelu& p) {
  const SweepShape shape = sweep_shape(p);
  const bool gradient = p.mode == SG3_APPLY_MASK;
  const bool has_factors = (shape.up == 2 && shape.down == 2) || (shape.up == 4 && shape.down == 2) ||
                           (shape.up == 2 && shape.down == 4 && gradient);
  const bool few_terms =
      shape.up_terms == 1 ? shape.down_terms == 1 || (shape.down_terms <= kSweepMostTerms && shape.down == 2 &&
                                                      p.down.x.taps == 2 * kSweepTapsPerFactor && is_even(p.down))
                          : shape.up_terms <= kSweepMostTerms && shape.down_terms == 1 && gradient && shape.in_place();
  const bool covers_mask = p.mode != SG3_ACTIVATE_AND_MASK || (covers_samples(p.down.y) && covers_samples(p.down.x));
  return has_factors && few_terms && has_sweep_factors(p.up.y, p.down.y, shape) &&
         has_sweep_factors(p.up.x, p.down.x, shape) && 0 <= p.slope && p.slope <= 1 && p.clamp >= 0 && covers_mask;
}

inline SweepAxis sweep_axis(const Sg3Axis& up, const Sg3Axis& down) {
  return {int(up.before), int(down.before), int(up.in_size), int(up.out_size), int(down.out_size), 0, 0, 0};
}

// Gives the axis blocks of `steps` steps; returns false if these are too few for an output. A block begins at a
// multiple of `up` samples, so that all have the same phase.
inline bool set_steps(const SweepShape& shape, int steps, SweepAxis* axis) {
  axis->steps = steps;
  axis->outputs = steps * shape.new_outputs() - kSweepCarried;
  axis->outputs -= axis->outputs * shape.down % shape.up / shape.down;
  axis->parts = axis->outputs > 0 ? ceil_div(axis->out_size, axis->outputs) : 0;
  return axis->outputs > 0;
}

inline int columns_of(const SweepShape& shape, int steps) { return steps * shape.new_inputs() + shape.held_inputs(); }

// Returns the warp instructions of a stripe, from counts in compiled code (docs/adr/0021).
inline double stripe_cost(const SweepShape& shape, int mode, int steps) {
  const double nonlinearity = mode == SG3_ACTIVATE_AND_MASK ? 190 : mode == SG3_ACTIVATE ? 70 : 115;
  const double upsample = shape.up_terms * 110.0;
  const double downsample = shape.down_terms == 1 ? 110 : 50 + 60.0 * shape.down_terms;
  const double step = nonlinearity + upsample + downsample;
  const double column = 250 + 430.0 * (shape.up_terms + shape.down_terms);
  return steps * step * (kSweepThreads / 32) + column * ceil_div(columns_of(shape, steps) * kSweepChannels / 4, 32);
}

inline double single_penalty(const SweepShape& shape, const SharedLimits& limits) {
  return shape.shared_floats() * 4 > limits.pair ? kSweepSingleBlockPenalty : 1;
}

// Returns the capacity with which wide images are cheapest, or 0 if not even the smallest fits into shared memory. It
// depends on the GPU but not on the image, so that few kernels are compiled.
inline int sweep_capacity(SweepShape shape, int mode, const SharedLimits& limits) {
  double least = std::numeric_limits<double>::infinity();
  int best = 0;
  for (shape.capacity = 1;; ++shape.capacity) {
    SweepAxis axis = {};
    if (!set_steps(shape, shape.capacity, &axis)) continue;
    const int columns = std::max(columns_of(shape, shape.capacity), shape.capacity * shape.new_outputs());
    if (columns > kSweepMostColumns || shape.shared_floats() * 4 > limits.block) return best;
    const double cost = stripe_cost(shape, mode, shape.capacity) / axis.outputs * single_penalty(shape, limits);
    if (cost < least) {
      least = cost;
      best = shape.capacity;
    }
  }
}

// Returns the cheapest strips and segments.
inline SweepPlan sweep_plan(const Sg3FilteredLrelu& problem, const SweepShape& shape, const SharedLimits& limits) {
  SweepPlan p = {}, best = {};
  p.y = sweep_axis(problem.up.y, problem.down.y);
  p.x = sweep_axis(problem.up.x, problem.down.x);
  p.batch = problem.batch;
  p.channels = problem.channels;
  p.chunks = (problem.channels + kSweepChannels - 1) / kSweepChannels;
  p.slope = float(problem.slope);
  p.clamp = float(problem.clamp);
  const bool single = shape.shared_floats() * 4 > limits.pair;
  const double at_once = single ? limits.multiprocessors : 2 * limits.multiprocessors;
  double least = std::numeric_limits<double>::infinity();
  for (int x_steps = 1; x_steps <= shape.capacity; ++x_steps) {
    if (!set_steps(shape, x_steps, &p.x)) continue;
    p.columns = columns_of(shape, x_steps);
    const double cost = stripe_cost(shape, problem.mode, x_steps);
    for (int y_steps = 1;; ++y_steps) {
      if (!set_steps(shape, y_steps, &p.y)) continue;
      const double time = std::ceil(double(num_sweep_blocks(p)) / at_once) * y_steps * cost;
      if (time < least) {
        least = time;
        best = p;
      }
      if (p.y.parts == 1) break;
    }
    if (p.x.parts == 1) break;
  }
  return best;
}

inline void copy_sweep_filter(const double* from, const Sg3Axis& axis, int64_t terms,
                              float (&to)[kSweepMostTerms][kSweepMostTaps]) {
  for (int64_t term = 0; term < terms; ++term) {
    for (int64_t k = 0; k < axis.taps; ++k) to[term][k] = float(from[term * axis.taps + k]);
  }
}

inline SweepTaps sweep_taps(const Sg3FilteredLrelu& p) {
  SweepTaps taps = {};
  copy_sweep_filter(p.up.taps_y, p.up.y, p.up.terms, taps.up_y);
  copy_sweep_filter(p.up.taps_x, p.up.x, p.up.terms, taps.up_x);
  copy_sweep_filter(p.down.taps_y, p.down.y, p.down.terms, taps.down_y);
  copy_sweep_filter(p.down.taps_x, p.down.x, p.down.terms, taps.down_x);
  return taps;
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_SWEEP_PLAN_H_
