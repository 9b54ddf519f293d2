// upfirdn2d of images with few channels with a separable filter of any length, for one block of threads. A row is one
// line of [pixel, channel] elements. Columns are filtered first, from global into shared memory: neighboring threads
// take neighboring elements, each for several rows of outputs. Then rows are filtered: a thread reads all channels of
// neighboring pixels, 16 bytes at a time. Both keep a window of inputs in registers that moves along the filter.

#ifndef SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_IMAGE_BLOCK_H_
#define SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_IMAGE_BLOCK_H_

#include "custom_ops/resampling/cuda/tile.h"
#include "custom_ops/upfirdn2d/cuda_polyphase.h"

namespace sg3::cuda {

constexpr int kImageThreads = 256;  // per block
constexpr int kImageTaps = 896;     // of both axes, padded
constexpr int kPixelGroups = 4;     // groups of columns per thread

struct ImageAxis : PolyphaseAxis {
  int steps;        // of kColumnStep inputs (y) or kRowStep (x)
  int tile_groups;  // of a tile
  int tiles;
};

// The parameters of a kernel, except tensors and taps. Taps are [UP, inputs of all steps] for y, then for x.
struct ImagePlan {
  ImageAxis y, x;
  int64_t batch;
  Divisor row_elements;    // of the tile after filtering columns, a multiple of 4
  Divisor threads_of_row;  // that filter a row
  int out_at;              // offset of the outputs in shared memory
  int64_t shared_floats;
};

// Factors and channels, and the number of steps along both axes; 0 for any.
template <int UP, int DOWN, int CHANNELS, int STEPS>
struct ImageShape {
  static constexpr int kUp = UP, kDown = DOWN, kChannels = CHANNELS, kSteps = STEPS;
  static constexpr int kRowGroups = UP == 1 ? 8 : 4;                   // groups of rows per thread
  static constexpr int kColumnStep = STEPS > 0 ? 4 : 8;                // inputs along a column that are read together
  static constexpr int kRowStep = 4;                                   // along a row: whole vectors, for any channels
  static constexpr int kRows = (kRowGroups - 1) * DOWN + kColumnStep;  // of a window along y
  static constexpr int kPixels = ceil_div((kPixelGroups - 1) * DOWN, kRowStep) * kRowStep + kRowStep;  // along x
  static_assert(UP == 1 || DOWN == 1, "");
};

SG3_HD int64_t num_blocks(const ImagePlan& p) { return p.batch * p.y.tiles * p.x.tiles; }

// The phases of one block, separated by barriers.
template <class T, class Shape>
struct ImageBlock {
  static constexpr int kUp = Shape::kUp, kDown = Shape::kDown, kChannels = Shape::kChannels;
  static constexpr int kRowGroups = Shape::kRowGroups, kRows = Shape::kRows, kPixels = Shape::kPixels;
  static constexpr int kColumnStep = Shape::kColumnStep, kRowStep = Shape::kRowStep;

  const ImagePlan& p;
  const float* taps;
  const T* x;
  T* y;
  float* shared;
  int64_t image;
  int group_y, group_x;  // the first ones of the tile

  SG3_HD ImageBlock(const ImagePlan& plan, const float* taps, const T* x, T* y, float* shared, unsigned block)
      : p(plan), taps(taps), x(x), y(y), shared(shared) {
    const unsigned row = block / unsigned(p.x.tiles);
    image = row / unsigned(p.y.tiles);
    group_y = int(row % unsigned(p.y.tiles)) * p.y.tile_groups;
    group_x = int(block % unsigned(p.x.tiles)) * p.x.tile_groups;
  }

  // run(phase) calls phase(worker) on every worker, and returns when all are done.
  template <class Run>
  SG3_HD void run_all(Run run) const {
    run([&](Worker w) { filter_columns(w); });
    run([&](Worker w) { filter_rows(w); });
    run([&](Worker w) { store(w); });
  }

  SG3_HD static int num_steps(const ImageAxis& axis) { return Shape::kSteps > 0 ? Shape::kSteps : axis.steps; }

  // Calls f(step) for all steps along the axis. Unrolls compiled-in steps, so that loads precede arithmetic.
  template <class F>
  SG3_HD static void for_each_step(const ImageAxis& axis, F f) {
    if constexpr (Shape::kSteps > 0) {
      SG3_UNROLL for (int step = 0; step < Shape::kSteps; ++step) f(step);
    } else {
      for (int step = 0; step < axis.steps; ++step) f(step);
    }
  }

  // Filters the image to columns [rows of outputs, row_elements].
  SG3_HD void filter_columns(Worker w) const {
    const int elements = int(p.row_elements.divisor), end = p.y.tile_groups / kRowGroups * elements;
    for (int task = w.index; task < end; task += w.count) {
      const int part = p.row_elements.quotient(task), element = task - part * elements;
      float sums[kRowGroups * kUp] = {};
      filter_column(element, group_y + part * kRowGroups, sums);
      float* to = shared + part * (kRowGroups * kUp) * elements + element;
      SG3_UNROLL for (int i = 0; i < kRowGroups * kUp; ++i) to[i * elements] = sums[i];
    }
  }

  SG3_HD void filter_column(int element, int group, float (&sums)[kRowGroups * kUp]) const {
    const int64_t pitch = int64_t(p.x.in_size) * kChannels;
    const int column = (group_x * kDown + p.x.first) * kChannels + element;
    const bool inside = unsigned(column) < unsigned(p.x.in_size * kChannels);
    int row = group * kDown + p.y.first;
    const T* from = x + ((image * p.y.in_size + row) * pitch + column);
    const auto next = [&] {
      const float value = inside && unsigned(row) < unsigned(p.y.in_size) ? to_float(*from) : 0.f;
      ++row;
      from += pitch;
      return value;
    };
    float window[kRows];
    SG3_UNROLL for (int i = 0; i < kRows; ++i) window[i] = next();
    for_each_step(p.y, [&](int step) {
      float following[kColumnStep] = {};
      if (step + 1 < num_steps(p.y)) {
        SG3_UNROLL for (int i = 0; i < kColumnStep; ++i) following[i] = next();
      }
      SG3_UNROLL for (int q = 0; q < kUp; ++q) {
        SG3_UNROLL for (int j = 0; j < kColumnStep; ++j) {
          const float tap = taps[(q * num_steps(p.y) + step) * kColumnStep + j];
          SG3_UNROLL for (int g = 0; g < kRowGroups; ++g) sums[g * kUp + q] += tap * window[g * kDown + j];
        }
      }
      SG3_UNROLL for (int i = 0; i < kRows; ++i) {
        window[i] = i + kColumnStep < kRows ? window[i + kColumnStep] : following[i + kColumnStep - kRows];
      }
    });
  }

  // Filters columns to outputs [rows, pixels, channels].
  SG3_HD void filter_rows(Worker w) const {
    constexpr int kInputs = kPixelGroups * kDown * kChannels, kOutputs = kPixelGroups * kUp * kChannels;
    const int threads = int(p.threads_of_row.divisor), end = p.y.tile_groups * kUp * threads;
    for (int task = w.index; task < end; task += w.count) {
      const int row = p.threads_of_row.quotient(task), part = task - row * threads;
      float sums[kOutputs] = {};
      filter_row(shared + row * int(p.row_elements.divisor) + part * kInputs, sums);
      put_values<kOutputs>(sums, shared + p.out_at + task * kOutputs);
    }
  }

  SG3_HD void filter_row(const float* line, float (&sums)[kPixelGroups * kUp * kChannels]) const {
    constexpr int kMove = kRowStep * kChannels, kWindow = kPixels * kChannels;
    const float* line_taps = taps + kUp * num_steps(p.y) * kColumnStep;
    float window[kWindow];
    get_values<kWindow - kMove>(line, window + kMove);
    for_each_step(p.x, [&](int step) {
      SG3_UNROLL for (int i = 0; i < kWindow - kMove; ++i) window[i] = window[i + kMove];
      get_values<kMove>(line + kWindow - kMove + step * kMove, window + kWindow - kMove);
      SG3_UNROLL for (int q = 0; q < kUp; ++q) {
        SG3_UNROLL for (int j = 0; j < kRowStep; ++j) {
          const float tap = line_taps[(q * num_steps(p.x) + step) * kRowStep + j];
          SG3_UNROLL for (int g = 0; g < kPixelGroups; ++g) {
            SG3_UNROLL for (int c = 0; c < kChannels; ++c) {
              sums[(g * kUp + q) * kChannels + c] += tap * window[(g * kDown + j) * kChannels + c];
            }
          }
        }
      }
    });
  }

  // Writes the outputs that lie inside the image, a warp per row.
  SG3_HD void store(Worker w) const {
    constexpr int kWarp = 32;
    const int pitch = p.x.tile_groups * kUp * kChannels, line = p.x.out_size * kChannels;
    const int top = group_y * kUp, left = group_x * kUp * kChannels;
    const int rows = p.y.tile_groups * kUp, rows_left = p.y.out_size - top, columns_left = line - left;
    const int columns = pitch < columns_left ? pitch : columns_left;
    for (int row = w.index / kWarp; row < rows && row < rows_left; row += w.count / kWarp) {
      const float* from = shared + p.out_at + row * pitch;
      T* to = y + ((image * p.y.out_size + top + row) * line + left + w.index % kWarp);
      for (int i = w.index % kWarp; i < columns; i += kWarp, to += kWarp) from_float(from[i], to);
    }
  }
};

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_IMAGE_BLOCK_H_
