// The general upfirdn2d, for one block of threads: a tile of output pixels times a chunk of channels. Columns are
// resampled first, then rows; the terms of the filter add up. cuda_strip_block.h and cuda_image_block.h are faster.

#ifndef SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_BLOCK_H_
#define SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_BLOCK_H_

#include "custom_ops/resampling/cuda/tile.h"

namespace sg3::cuda {

struct UpfirdnAxis {
  int up, down, before, taps;
  int in_size, out_size;
  int inputs, outputs;  // of a tile
  int tiles;
};

// The parameters of a kernel, except tensors and taps.
struct UpfirdnPlan {
  UpfirdnAxis y, x;
  int64_t batch, channels, chunks;
  int lanes, threads, type;
  bool vectors;  // 16-byte accesses are possible
  int terms;
  int row_pitch;
  int in_at, rows_at, out_at;  // offsets of the planes in shared memory
  int64_t shared_floats;
  Divisor in_columns, out_columns;
};

// The phases of one block, separated by barriers.
struct UpfirdnBlock : BlockPlace {
  const UpfirdnPlan& p;
  const float* taps;  // [terms, y.taps], [terms, x.taps]
  const void* x;
  void* y;
  float* shared;

  SG3_HD UpfirdnBlock(const UpfirdnPlan& plan, const float* all_taps, const void* x, void* y, float* shared,
                      int64_t block)
      : BlockPlace(plan, plan.lanes, block), p(plan), taps(all_taps), x(x), y(y), shared(shared) {}

  // run(phase) calls phase(worker) on every worker, and returns when all are done.
  template <class Run>
  SG3_HD void run_all(Run run) const {
    run([&](Worker w) { load(w); });
    for (int term = 0; term < p.terms; ++term) {
      run([&](Worker w) { resample_columns(w, term); });
      run([&](Worker w) { resample_rows(w, term); });
    }
    run([&](Worker w) { store(w); });
  }

  SG3_HD LineStart start(const UpfirdnAxis& axis, int tile) const {
    return LineStart::at(tile * axis.outputs * axis.down - axis.before, axis.up);
  }

  template <class T>
  SG3_HD Pixels<T> pixels(T* tensor, int height, int width) const {
    T* first = tensor + image * height * width * p.channels + channel;
    return {first, height, width, p.channels, p.channels - channel < p.lanes ? int(p.channels - channel) : p.lanes};
  }

  SG3_HD void load(Worker w) const {
    with_type(p.type, [&](auto zero) {
      using T = decltype(zero);
      const auto from = pixels(static_cast<const T*>(x), p.y.in_size, p.x.in_size);
      const int top = start(p.y, tile_y).input, left = start(p.x, tile_x).input;
      const T* no_bias = nullptr;
      float* to = shared + p.in_at;
      if (p.vectors) {
        load_tile<16 / sizeof(T)>(w, from, no_bias, top, left, p.y.inputs, p.in_columns, p.lanes, to);
      } else {
        load_tile<1>(w, from, no_bias, top, left, p.y.inputs, p.in_columns, p.lanes, to);
      }
    });
  }

  SG3_HD void store(Worker w) const {
    with_type(p.type, [&](auto zero) {
      using T = decltype(zero);
      const auto to = pixels(static_cast<T*>(y), p.y.out_size, p.x.out_size);
      const int top = tile_y * p.y.outputs, left = tile_x * p.x.outputs;
      const float* from = shared + p.out_at;
      if (p.vectors) {
        store_tile<16 / sizeof(T)>(w, from, to, top, left, p.y.outputs, p.out_columns, p.lanes);
      } else {
        store_tile<1>(w, from, to, top, left, p.y.outputs, p.out_columns, p.lanes);
      }
    });
  }

  // Resamples in [inputs, inputs, lanes] to rows [outputs, row_pitch, lanes].
  SG3_HD void resample_columns(Worker w, int term) const {
    const int phase = start(p.y, tile_y).phase;
    const int in_stride = p.x.inputs * p.lanes, out_stride = p.row_pitch * p.lanes;
    for (int task = w.index; task < p.x.inputs * p.lanes; task += w.count) {
      float* out = shared + p.rows_at + task;
      resample(p.y, phase, taps + term * p.y.taps, shared + p.in_at + task, in_stride,
               [&](int o, float value) { out[o * out_stride] = value; });
    }
  }

  // Resamples rows to out [outputs, outputs, lanes], or adds to it.
  SG3_HD void resample_rows(Worker w, int term) const {
    const int phase = start(p.x, tile_x).phase;
    const float* line_taps = taps + p.terms * p.y.taps + term * p.x.taps;
    for (int task = w.index; task < p.y.outputs * p.lanes; task += w.count) {
      const int row = task / p.lanes, lane = task % p.lanes;
      float* out = shared + p.out_at + row * p.x.outputs * p.lanes + lane;
      resample(p.x, phase, line_taps, shared + p.rows_at + row * p.row_pitch * p.lanes + lane, p.lanes,
               [&](int o, float value) { out[o * p.lanes] = term > 0 ? out[o * p.lanes] + value : value; });
    }
  }

  // Resamples one line of the tile.
  template <class Put>
  SG3_HD void resample(const UpfirdnAxis& axis, int phase, const float* line_taps, const float* line, int stride,
                       Put put) const {
    for (int o = 0; o < axis.outputs; ++o) {
      put(o, resample_at(o, axis.up, axis.down, phase, axis.taps, line_taps, line, stride));
    }
  }
};

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_BLOCK_H_
