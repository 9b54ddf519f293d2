// Chooses the shape and the strips of cuda_strip_block.h before every launch. Plain C++.

#ifndef SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_STRIP_PLAN_H_
#define SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_STRIP_PLAN_H_

#include <algorithm>
#include <limits>

#include "custom_ops/upfirdn2d/cuda_polyphase_plan.h"
#include "custom_ops/upfirdn2d/cuda_strip_block.h"
#include "custom_ops/upfirdn2d/problem.h"

namespace sg3::cuda {

template <int UP, int DOWN, int REACH>
bool matches(StripShape<UP, DOWN, REACH>, const Sg3Axis& axis) {
  return axis.up == UP && axis.down == DOWN && polyphase_axis(axis).reach <= REACH;
}

// Calls f(StripShape()) for the filters of StyleGAN2, of at most 4 taps, and for filters of at most 12 taps without
// factors, as in ablations of StyleGAN3; returns false for everything else. `aligned` means that the images begin at
// multiples of 16 bytes.
template <class F>
bool with_strip_shape(const Sg3Upfirdn2d& problem, bool aligned, F f) {
  if (!aligned || problem.channels % kStripChannels != 0 || problem.channels >= 1 << 24) return false;
  if (problem.stage.terms != 1) return false;
  const auto calls = [&](auto shape) {
    const bool found = matches(shape, problem.stage.y) && matches(shape, problem.stage.x);
    if (found) f(shape);
    return found;
  };
  return calls(StripShape<1, 1, 4>()) || calls(StripShape<1, 2, 4>()) || calls(StripShape<2, 1, 3>()) ||
         calls(StripShape<1, 1, 12>());
}

inline int log2_of_at_least(int n) {
  int log2 = 0;
  while (1 << log2 < n) ++log2;
  return log2;
}

template <class Shape>
StripPlan strip_plan(const Sg3Upfirdn2d& problem) {
  StripPlan p = {};
  p.y = polyphase_axis(problem.stage.y);
  p.x = polyphase_axis(problem.stage.x);
  p.batch = problem.batch;
  p.channels = int(problem.channels);

  // A block takes columns, which share inputs, rather than channels; but 16 vectors make whole lines of memory.
  const int threads_log2 = log2_of_at_least(kStripThreads);
  const int vectors = p.channels / kStripChannels, columns = ceil_div(p.x.groups, Shape::kGroups);
  p.vectors_log2 = std::max(4, threads_log2 - log2_of_at_least(columns));
  p.vectors_log2 = std::min({p.vectors_log2, log2_of_at_least(vectors), threads_log2});
  p.chunks = ceil_div(vectors, 1 << p.vectors_log2);
  p.tiles = ceil_div(columns, kStripThreads >> p.vectors_log2);
  p.threads = ceil_div(columns, p.tiles) << p.vectors_log2;

  // Long strips need fewer starts; short ones fill the whole GPU: 132 multiprocessors with 512 threads each at a time.
  constexpr double kStart = Shape::kSums + 1;  // the cost of a start, in rows
  const int64_t wave = 132 * (2 * kStripThreads / p.threads);
  double least = std::numeric_limits<double>::infinity();
  StripPlan best = p;
  for (int groups = 64; groups >= 4; --groups) {
    p.strips = ceil_div(p.y.groups, groups);
    p.strip_groups = ceil_div(p.y.groups, p.strips);
    const double time = double((num_blocks(p) + wave - 1) / wave) * (p.strip_groups + kStart);
    if (time < least) {
      least = time;
      best = p;
    }
  }
  return best;
}

template <class Shape>
StripTaps<Shape> strip_taps(const Sg3Upfirdn2d& problem) {
  StripTaps<Shape> taps;
  polyphase_taps(problem.stage.y, problem.stage.taps_y, Shape::kReach, &taps.y[0][0]);
  polyphase_taps(problem.stage.x, problem.stage.taps_x, Shape::kReach, &taps.x[0][0]);
  return taps;
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_STRIP_PLAN_H_
