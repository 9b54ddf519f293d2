// Chooses the shape and the tiles of cuda_image_block.h before every launch. Plain C++.

#ifndef SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_IMAGE_PLAN_H_
#define SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_IMAGE_PLAN_H_

#include <algorithm>
#include <limits>
#include <type_traits>

#include "custom_ops/upfirdn2d/cuda_image_block.h"
#include "custom_ops/upfirdn2d/cuda_polyphase_plan.h"
#include "custom_ops/upfirdn2d/problem.h"

namespace sg3::cuda {

// Returns an axis without tiles.
template <class Shape>
ImageAxis image_axis(const Sg3Axis& axis, int inputs_of_step) {
  ImageAxis a = {};
  static_cast<PolyphaseAxis&>(a) = polyphase_axis(axis);
  a.steps = Shape::kSteps > 0 ? Shape::kSteps : ceil_div(a.reach, inputs_of_step);
  return a;
}

template <int UP, int DOWN, int CHANNELS, int STEPS>
bool matches(ImageShape<UP, DOWN, CHANNELS, STEPS>, const Sg3Axis& axis) {
  return axis.up == UP && axis.down == DOWN && (STEPS == 0 || polyphase_axis(axis).reach <= STEPS * 4);
}

template <class Shape>
int64_t num_image_taps(const Sg3Upfirdn2d& problem) {
  const ImageAxis y = image_axis<Shape>(problem.stage.y, Shape::kColumnStep);
  const ImageAxis x = image_axis<Shape>(problem.stage.x, Shape::kRowStep);
  return Shape::kUp * (int64_t(y.steps) * Shape::kColumnStep + int64_t(x.steps) * Shape::kRowStep);
}

// Calls f(ImageShape()) for separable filters, factors 1, up 2 or down 2, and 1, 3 or 4 channels; returns false for
// everything else. For color images, the number of steps is compiled in for the filters of StyleGAN2 (4 taps) and of
// augmentation (12 taps).
template <class F>
bool with_image_shape(const Sg3Upfirdn2d& problem, F f) {
  const Sg3Stage& stage = problem.stage;
  if (stage.terms != 1) return false;
  const auto calls = [&](auto shape) {
    const bool found = problem.channels == shape.kChannels && matches(shape, stage.y) && matches(shape, stage.x) &&
                       num_image_taps<decltype(shape)>(problem) <= kImageTaps;
    if (found) f(shape);
    return found;
  };
  const auto calls_any_steps = [&](auto channels) {
    constexpr int kChannels = decltype(channels)::value;
    return calls(ImageShape<1, 1, kChannels, 0>()) || calls(ImageShape<1, 2, kChannels, 0>()) ||
           calls(ImageShape<2, 1, kChannels, 0>());
  };
  return calls(ImageShape<1, 1, 3, 1>()) || calls(ImageShape<1, 2, 3, 1>()) || calls(ImageShape<1, 2, 3, 3>()) ||
         calls(ImageShape<2, 1, 3, 1>()) || calls(ImageShape<2, 1, 3, 2>()) ||
         calls_any_steps(std::integral_constant<int, 1>()) || calls_any_steps(std::integral_constant<int, 3>()) ||
         calls_any_steps(std::integral_constant<int, 4>());
}

inline void set_tile(ImageAxis* axis, int groups) {
  axis->tile_groups = groups;
  axis->tiles = ceil_div(axis->groups, groups);
}

// Gives the plan tiles of `parts` times the rows of a thread and about `side` groups of columns.
template <class Shape>
void set_tiles(ImagePlan* p, int parts, int side) {
  set_tile(&p->y, parts * Shape::kRowGroups);
  set_tile(&p->x, even_tile(p->x.groups, side, kPixelGroups));
  const int pixels = (p->x.tile_groups - kPixelGroups) * Shape::kDown + Shape::kPixels - Shape::kRowStep +
                     p->x.steps * Shape::kRowStep;
  const int rows = p->y.tile_groups * Shape::kUp, elements = pixels * Shape::kChannels;
  p->row_elements = Divisor::of(elements);
  p->threads_of_row = Divisor::of(p->x.tile_groups / kPixelGroups);
  p->out_at = rows * elements;
  p->shared_floats = p->out_at + int64_t(rows) * p->x.tile_groups * Shape::kUp * Shape::kChannels;
}

// Estimates the time of all blocks in instructions. A step has one instruction for each multiplication.
template <class Shape>
double image_cost(const ImagePlan& p) {
  constexpr double kLoad = 4, kTask = 40;
  constexpr int64_t kMultiprocessors = 132;
  const auto rounds = [](int64_t tasks) { return double((tasks + kImageThreads - 1) / kImageThreads); };
  const int64_t parts = p.y.tile_groups / Shape::kRowGroups, elements = int64_t(p.row_elements.divisor);
  const int64_t rows = p.y.tile_groups * Shape::kUp, outputs = rows * p.x.tile_groups * Shape::kUp * Shape::kChannels;
  const double of_columns =
      (p.y.reach + Shape::kRows) * kLoad + p.y.steps * Shape::kColumnStep * Shape::kRowGroups * Shape::kUp;
  const double of_rows = 1.5 * p.x.steps * Shape::kRowStep * kPixelGroups * Shape::kUp * Shape::kChannels;
  const double block = rounds(parts * elements) * (kTask + of_columns) +
                       rounds(rows * int64_t(p.threads_of_row.divisor)) * (kTask + of_rows) + rounds(outputs) * kLoad +
                       3 * kBarrierCost;
  // A multiprocessor with fewer than two blocks waits for memory.
  return block * double(std::max<int64_t>(2, (num_blocks(p) + kMultiprocessors - 1) / kMultiprocessors));
}

// Returns false if not even the smallest tile fits three times into shared memory.
template <class Shape>
bool make_image_plan(const Sg3Upfirdn2d& problem, const SharedLimits& limits, ImagePlan* plan) {
  ImagePlan p = {};
  p.y = image_axis<Shape>(problem.stage.y, Shape::kColumnStep);
  p.x = image_axis<Shape>(problem.stage.x, Shape::kRowStep);
  p.batch = problem.batch;
  double least = std::numeric_limits<double>::infinity();
  for (const int parts : {1, 2, 4}) {
    for (const int side : {16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256}) {
      set_tiles<Shape>(&p, parts, side);
      if (p.shared_floats * 4 > limits.pair * 2 / 3) break;  // wider ones need more; three blocks must fit
      const double cost = image_cost<Shape>(p);
      if (cost < least) {
        least = cost;
        *plan = p;
      }
    }
  }
  return least < std::numeric_limits<double>::infinity();
}

template <class Shape>
void image_taps(const Sg3Upfirdn2d& problem, const ImagePlan& p, float* to) {
  const int y = p.y.steps * Shape::kColumnStep, x = p.x.steps * Shape::kRowStep;
  polyphase_taps(problem.stage.y, problem.stage.taps_y, y, to);
  polyphase_taps(problem.stage.x, problem.stage.taps_x, x, to + Shape::kUp * y);
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_IMAGE_PLAN_H_
