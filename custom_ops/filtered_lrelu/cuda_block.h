// filtered_lrelu with any factors and filters, for one block of threads: a tile of output pixels times the 16 channels
// of a mask word.
//
// The tile's input is loaded once. Columns are upsampled into rows, and rows into "samples", which are activated and
// downsampled along rows, then along columns. A filter of several separable terms takes several passes, whose results
// add up. cuda_sweep_block.h is faster for the filters of StyleGAN3.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_BLOCK_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_BLOCK_H_

#include "custom_ops/filtered_lrelu/problem.h"
#include "custom_ops/resampling/cuda/tile.h"

namespace sg3::cuda {

// One axis of the tiles. Sample s of tile t is sample t * outputs * down - down_before + s of the upsampled signal.
// Filters are padded with zeros to multiples of their factors.
struct LreluAxis {
  int up, up_before, up_taps;
  int down, down_before, down_taps;
  int in_size, up_size, out_size;
  int inputs, samples, outputs;  // of a tile
  int first_tile, tiles;         // a mask may extend beyond the outputs on both sides

  SG3_HD int first_sample(int tile) const { return (first_tile + tile) * outputs * down - down_before; }

  // Returns true for the samples whose mask words this tile writes: those before the next tile's, or all in the last
  // tile.
  SG3_HD bool owns(int tile, int sample) const { return sample < outputs * down || tile == tiles - 1; }
};

// The parameters of a kernel, except tensors and taps.
struct LreluPlan {
  LreluAxis y, x;
  int64_t batch, channels, chunks;
  int threads, mode, type;
  bool vectors;  // 16-byte accesses are possible
  float slope, clamp;
  int up_terms, down_terms;
  int up_y, up_x, down_y, down_x;                              // offsets of the taps
  int row_pitch, sample_pitch, out_pitch;                      // of the planes below
  int in_at, rows_at, samples_at, lines_at, out_at, words_at;  // offsets of the planes in shared memory
  int64_t shared_floats;
  Divisor in_columns, sample_columns, out_columns;
};

// Puts a channel's two bits into its word. Neighboring threads have the 16 channels of a word, and all threads of a
// warp must call this together. On the host, threads call it in turn, and words must start at zero.
SG3_HD void put_bits(uint32_t* word, int lane, bool negative, bool clamped) {
#ifdef __CUDA_ARCH__
  const uint32_t negatives = __ballot_sync(~0u, negative), clampeds = __ballot_sync(~0u, clamped);
  const int half_warp = threadIdx.x & 16;
  if (lane == 0) *word = (negatives >> half_warp & 0xffff) | (clampeds >> half_warp) << 16;
#else
  *word |= uint32_t(negative) << lane | uint32_t(clamped) << (16 + lane);
#endif
}

// Returns the activation of sample z of the word's channel `lane`.
template <int MODE>
SG3_HD float activate(float z, int lane, float slope, float clamp, uint32_t* word) {
  if constexpr (MODE == SG3_APPLY_MASK) {
    const uint32_t bits = *word >> lane;
    const float factor = bits & 1 ? slope : 1.f;
    return bits & 0x10000 ? 0.f : z * factor;
  } else {
    const bool negative = z < 0;
    const float active = negative ? z * slope : z;
    const float magnitude = fabsf(active);
    if constexpr (MODE == SG3_ACTIVATE_AND_MASK) put_bits(word, lane, negative, !(magnitude < clamp));
    return magnitude > clamp ? copysignf(clamp, active) : active;  // NaNs pass
  }
}

// The phases of one block, separated by barriers.
template <int MODE>
struct LreluBlock : BlockPlace {
  static constexpr int kLanes = SG3_MASK_CHANNELS;

  const LreluPlan& p;
  const float* taps;
  const void *x, *bias;
  void* y;
  uint32_t* mask;
  float* shared;

  SG3_HD LreluBlock(const LreluPlan& plan, const float* all_taps, const void* x, const void* bias, void* y,
                    uint32_t* mask, float* shared, int64_t block)
      : BlockPlace(plan, kLanes, block), p(plan), taps(all_taps), x(x), bias(bias), y(y), mask(mask), shared(shared) {}

  // run(phase) calls phase(worker) on every worker, and returns when all are done.
  template <class Run>
  SG3_HD void run_all(Run run) const {
    run([&](Worker w) {
      load(w);
      if constexpr (MODE != SG3_ACTIVATE) load_words(w);
    });
    for (int u = 0; u < p.up_terms; ++u) {
      run([&](Worker w) { upsample_columns(w, u); });
      run([&](Worker w) { upsample_rows(w, u); });
    }
    for (int d = 0; d < p.down_terms; ++d) {
      run([&](Worker w) { downsample_rows(w, d); });
      run([&](Worker w) { downsample_columns(w, d); });
    }
    run([&](Worker w) {
      store(w);
      if constexpr (MODE == SG3_ACTIVATE_AND_MASK) store_words(w);
    });
  }

  SG3_HD LineStart start(const LreluAxis& axis, int tile) const {
    return LineStart::at(axis.first_sample(tile) - axis.up_before, axis.up);
  }

  template <class T>
  SG3_HD Pixels<T> pixels(T* tensor, int height, int width) const {
    T* first = tensor + image * height * width * p.channels + channel;
    return {first, height, width, p.channels, p.channels - channel < kLanes ? int(p.channels - channel) : kLanes};
  }

  SG3_HD void load(Worker w) const {
    with_type(p.type, [&](auto zero) {
      using T = decltype(zero);
      const auto from = pixels(static_cast<const T*>(x), p.y.in_size, p.x.in_size);
      const T* offset = MODE == SG3_APPLY_MASK ? nullptr : static_cast<const T*>(bias) + channel;
      const int top = start(p.y, tile_y).input, left = start(p.x, tile_x).input;
      float* to = shared + p.in_at;
      if (p.vectors) {
        load_tile<16 / sizeof(T)>(w, from, offset, top, left, p.y.inputs, p.in_columns, kLanes, to);
      } else {
        load_tile<1>(w, from, offset, top, left, p.y.inputs, p.in_columns, kLanes, to);
      }
    });
  }

  SG3_HD void store(Worker w) const {
    with_type(p.type, [&](auto zero) {
      using T = decltype(zero);
      const auto to = pixels(static_cast<T*>(y), p.y.out_size, p.x.out_size);
      const int top = (p.y.first_tile + tile_y) * p.y.outputs, left = (p.x.first_tile + tile_x) * p.x.outputs;
      const float* from = shared + p.out_at;
      if (p.vectors) {
        store_tile<16 / sizeof(T)>(w, from, to, top, left, p.y.outputs, p.out_columns, kLanes);
      } else {
        store_tile<1>(w, from, to, top, left, p.y.outputs, p.out_columns, kLanes);
      }
    });
  }

  SG3_HD uint32_t* words() const { return reinterpret_cast<uint32_t*>(shared + p.words_at); }

  // Calls visit(row, column, word in shared memory, word in global memory) for the samples inside the image.
  template <class Visit>
  SG3_HD void for_words(Worker w, Visit visit) const {
    const int64_t group = channel / SG3_MASK_CHANNELS;
    const int64_t groups = (p.channels + SG3_MASK_CHANNELS - 1) / SG3_MASK_CHANNELS;
    uint32_t* plane = mask + (image * groups + group) * p.y.up_size * p.x.up_size;
    const int top = p.y.first_sample(tile_y), left = p.x.first_sample(tile_x);
    for (int i = w.index; i < p.y.samples * p.x.samples; i += w.count) {
      const int row = p.sample_columns.quotient(i), column = i - row * p.x.samples;
      const int y = top + row, x = left + column;
      const bool inside = unsigned(y) < unsigned(p.y.up_size) && unsigned(x) < unsigned(p.x.up_size);
      if (inside) visit(row, column, words() + i, plane + int64_t(y) * p.x.up_size + x);
    }
  }

  SG3_HD void load_words(Worker w) const {
    for_words(w, [](int, int, uint32_t* here, uint32_t* there) { *here = MODE == SG3_APPLY_MASK ? *there : 0; });
  }

  SG3_HD void store_words(Worker w) const {
    for_words(w, [&](int row, int column, uint32_t* here, uint32_t* there) {
      if (p.y.owns(tile_y, row) && p.x.owns(tile_x, column)) *there = *here;
    });
  }

  // Upsamples in [inputs, inputs, lanes] to rows [samples, row_pitch, lanes], which are zero outside the upsampled
  // image.
  SG3_HD void upsample_columns(Worker w, int term) const {
    const int phase = start(p.y, tile_y).phase, top = p.y.first_sample(tile_y);
    const float* line_taps = taps + p.up_y + term * p.y.up_taps;
    const int in_stride = p.x.inputs * kLanes, out_stride = p.row_pitch * kLanes;
    for (int task = w.index; task < p.x.inputs * kLanes; task += w.count) {
      const float* in = shared + p.in_at + task;
      float* out = shared + p.rows_at + task;
      const auto put = [&](int s, float value) {
        out[s * out_stride] = unsigned(top + s) < unsigned(p.y.up_size) ? value : 0.f;
      };
      for (int s = 0; s < p.y.samples; ++s) {
        put(s, resample_at(s, p.y.up, 1, phase, p.y.up_taps, line_taps, in, in_stride));
      }
    }
  }

  // Upsamples rows to samples [samples, sample_pitch, lanes]: the sum over terms, activated.
  SG3_HD void upsample_rows(Worker w, int term) const {
    const int phase = start(p.x, tile_x).phase, left = p.x.first_sample(tile_x);
    const float* line_taps = taps + p.up_x + term * p.x.up_taps;
    for (int task = w.index; task < p.y.samples * p.x.samples * kLanes; task += w.count) {
      const int lane = task % kLanes, row = p.sample_columns.quotient(task / kLanes);
      const int column = task / kLanes - row * p.x.samples;
      const float* line = shared + p.rows_at + row * p.row_pitch * kLanes + lane;
      float* sample = shared + p.samples_at + (row * p.sample_pitch + column) * kLanes + lane;
      float z = resample_at(column, p.x.up, 1, phase, p.x.up_taps, line_taps, line, kLanes);
      if (term > 0) z += *sample;
      if (term == p.up_terms - 1) {
        z = activate<MODE>(z, lane, p.slope, p.clamp, words() + row * p.x.samples + column);
        if (unsigned(left + column) >= unsigned(p.x.up_size)) z = 0;
      }
      *sample = z;
    }
  }

  // Downsamples samples to lines [samples, out_pitch, lanes].
  SG3_HD void downsample_rows(Worker w, int term) const {
    const float* line_taps = taps + p.down_x + term * p.x.down_taps;
    for (int task = w.index; task < p.y.samples * p.x.outputs * kLanes; task += w.count) {
      const int lane = task % kLanes, row = p.out_columns.quotient(task / kLanes);
      const int column = task / kLanes - row * p.x.outputs;
      const float* line = shared + p.samples_at + row * p.sample_pitch * kLanes + lane;
      shared[p.lines_at + (row * p.out_pitch + column) * kLanes + lane] =
          resample_at(column, 1, p.x.down, 0, p.x.down_taps, line_taps, line, kLanes);
    }
  }

  // Downsamples lines to out [outputs, outputs, lanes]: the sum over terms.
  SG3_HD void downsample_columns(Worker w, int term) const {
    const float* line_taps = taps + p.down_y + term * p.y.down_taps;
    for (int task = w.index; task < p.x.outputs * kLanes; task += w.count) {
      const float* in = shared + p.lines_at + task;
      float* out = shared + p.out_at + task;
      const int in_stride = p.out_pitch * kLanes, out_stride = p.x.outputs * kLanes;
      for (int o = 0; o < p.y.outputs; ++o) {
        const float value = resample_at(o, 1, p.y.down, 0, p.y.down_taps, line_taps, in, in_stride);
        out[o * out_stride] = term > 0 ? out[o * out_stride] + value : value;
      }
    }
  }
};

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_BLOCK_H_
