// The parts of a thread block's work that both operations share: its place, the transfer of pixels between global and
// shared memory, and the resampling of a line of samples.
//
// Shared memory holds planes of float32 [rows, pitch, lanes]. A lane is a channel of the chunk that the block works on,
// and a warp's threads take neighboring lanes, so that global accesses coalesce. With an odd pitch, threads in the same
// column of different rows access different memory banks.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_TILE_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_TILE_H_

#include "custom_ops/resampling/cuda/portable.h"

namespace sg3::cuda {

constexpr int kMaxThreads = 512;   // per block
constexpr int kLoadsInFlight = 4;  // per thread

// Filters as a kernel parameter.
template <int CAPACITY>
struct Taps {
  float at[CAPACITY];
};

// One thread of a block: it takes every count-th piece of work.
struct Worker {
  int index, count;
};

// The tile and the chunk of channels of a block. Blocks of the same tile and neighboring chunks have consecutive
// numbers, because they share lines of memory.
struct BlockPlace {
  int64_t image;
  int64_t channel;  // the first one
  int tile_y, tile_x;

  template <class Plan>
  SG3_HD BlockPlace(const Plan& plan, int lanes, int64_t block) {
    channel = block % plan.chunks * lanes;
    block /= plan.chunks;
    tile_x = int(block % plan.x.tiles);
    block /= plan.x.tiles;
    tile_y = int(block % plan.y.tiles);
    image = block / plan.y.tiles;
  }
};

template <class Plan>
SG3_HD int64_t num_blocks(const Plan& plan) {
  return plan.batch * plan.chunks * plan.y.tiles * plan.x.tiles;
}

// An image's chunk of channels in global memory: pixel (y, x) begins `channels` * (y * width + x) elements after the
// first, and its first `left` lanes are channels.
template <class T>
struct Pixels {
  T* first;
  int height, width;
  int64_t channels;
  int left;

  SG3_HD bool contains(int y, int x) const { return unsigned(y) < unsigned(height) && unsigned(x) < unsigned(width); }
  SG3_HD T* at(int y, int x) const { return first + (int64_t(y) * width + x) * channels; }
};

// Reads the tile [rows, columns, lanes] that begins at pixel (y, x): pixel plus bias inside the image, zero outside.
// N elements are read together: lanes, channels and every address must be multiples of N.
template <int N, class T>
SG3_HD void load_tile(Worker w, Pixels<const T> image, const T* bias, int y, int x, int rows, Divisor columns,
                      int lanes, float* tile) {
  const int groups = lanes / N;
  const int lane = w.index % groups * N;  // the same in every iteration, because groups divides the number of workers
  const bool exists = lane < image.left;
  float offset[N] = {};
  if (bias && exists) {
    SG3_UNROLL for (int n = 0; n < N; ++n) offset[n] = to_float(bias[lane + n]);
  }
  const int end = rows * int(columns.divisor), step = w.count / groups;
  for (int first = w.index / groups; first < end; first += kLoadsInFlight * step) {
    Vector<T, N> elements[kLoadsInFlight] = {};
    bool inside[kLoadsInFlight];
    SG3_UNROLL for (int f = 0; f < kLoadsInFlight; ++f) {
      const int pixel = first + f * step;
      const int row = columns.quotient(pixel), column = pixel - row * int(columns.divisor);
      inside[f] = exists && pixel < end && image.contains(y + row, x + column);
      if (inside[f]) elements[f] = *reinterpret_cast<const Vector<T, N>*>(image.at(y + row, x + column) + lane);
    }
    SG3_UNROLL for (int f = 0; f < kLoadsInFlight; ++f) {
      const int pixel = first + f * step;
      float values[N];
      SG3_UNROLL for (int n = 0; n < N; ++n) values[n] = inside[f] ? to_float(elements[f].at[n]) + offset[n] : 0.f;
      if (pixel < end) put_values<N>(values, tile + pixel * lanes + lane);
    }
  }
}

// Writes the part of the tile [rows, columns, lanes] that lies inside the image.
template <int N, class T>
SG3_HD void store_tile(Worker w, const float* tile, Pixels<T> image, int y, int x, int rows, Divisor columns,
                       int lanes) {
  const int groups = lanes / N;
  const int lane = w.index % groups * N;
  const int end = lane < image.left ? rows * int(columns.divisor) : 0;
  for (int pixel = w.index / groups; pixel < end; pixel += w.count / groups) {
    const int row = columns.quotient(pixel), column = pixel - row * int(columns.divisor);
    if (!image.contains(y + row, x + column)) continue;
    float values[N];
    get_values<N>(tile + pixel * lanes + lane, values);
    Vector<T, N> elements;
    SG3_UNROLL for (int n = 0; n < N; ++n) from_float(values[n], &elements.at[n]);
    store_vector(elements, image.at(y + row, x + column) + lane);
  }
}

// Upsampling in transposed form: every input is added to the TAPS samples that it contributes to. After a push, the
// first UP sums are complete. Shifting the sums is free, because the same instruction also adds to them.
template <int UP, int TAPS>
struct Upsampler {
  float sums[TAPS] = {};

  SG3_HD void push(float input, const float* taps) {
    SG3_UNROLL for (int j = 0; j < TAPS; ++j) {
      const float before = j + UP < TAPS ? sums[j + UP] : 0.f;
      sums[j] = before + input * taps[TAPS - 1 - j];
    }
  }
};

// Downsampling in transposed form: a push adds DOWN samples to the outputs that they contribute to, and completes
// one.
template <int DOWN, int TAPS>
struct Downsampler {
  static constexpr int kReach = TAPS / DOWN;  // outputs that a sample contributes to
  float sums[kReach] = {};

  SG3_HD float push(const float* samples, const float* taps) {
    SG3_UNROLL for (int m = 0; m < kReach; ++m) {
      float sum = m + 1 < kReach ? sums[m + 1] : 0.f;
      SG3_UNROLL for (int p = 0; p < DOWN; ++p) sum += samples[p] * taps[(kReach - 1 - m) * DOWN + p];
      sums[m] = sum;
    }
    return sums[0];
  }
};

// Resamples a line of a tile: output o is the sum of taps[k] * get(i) over UP * i = o * DOWN + phase - (UP - 1) + k.
// Calls get(i) for the inputs in order, and put(o, value) for 0 <= o < outputs. UP or DOWN must be 1, and TAPS a
// multiple of the other one.
template <int UP, int DOWN, int TAPS, class Get, class Put>
SG3_HD void resample_line(int inputs, int outputs, int phase, const float* line_taps, Get get, Put put) {
  static_assert(UP == 1 || DOWN == 1, "");
  float taps[TAPS];
  SG3_UNROLL for (int k = 0; k < TAPS; ++k) taps[k] = line_taps[k];
  if constexpr (UP > 1) {
    Upsampler<UP, TAPS> upsampler;
    for (int i = 0; i < inputs; ++i) {
      upsampler.push(get(i), taps);
      const int first = UP * (i + 1) - TAPS - phase;
      SG3_UNROLL for (int j = 0; j < UP; ++j) {
        if (unsigned(first + j) < unsigned(outputs)) put(first + j, upsampler.sums[j]);
      }
    }
  } else {
    Downsampler<DOWN, TAPS> downsampler;
    for (int o = 1 - downsampler.kReach; o < outputs; ++o) {
      float samples[DOWN];
      SG3_UNROLL for (int p = 0; p < DOWN; ++p) samples[p] = get((o + downsampler.kReach - 1) * DOWN + p);
      const float value = downsampler.push(samples, taps);
      if (o >= 0) put(o, value);
    }
  }
}

// Returns output o of a line, defined as above, for any factors and taps. Samples are `stride` floats apart.
SG3_HD float resample_at(int o, int up, int down, int phase, int num_taps, const float* taps, const float* line,
                         int stride) {
  const int position = o * down + phase;
  const int first = position / up;
  float sum = 0;
  for (int i = first, k = up * first + up - 1 - position; k < num_taps; ++i, k += up) sum += taps[k] * line[i * stride];
  return sum;
}

// The most inputs that `outputs` consecutive outputs can read.
SG3_HD constexpr int line_inputs(int outputs, int up, int down, int taps) {
  return ((outputs - 1) * down + up - 1) / up + ceil_div(taps, up);
}

// The first input of a line whose first output lies at `position` = o * down - before of the upsampled signal.
struct LineStart {
  int input, phase;

  SG3_HD static LineStart at(int position, int up) {
    const int input = int(-floor_div(-position, up));  // rounded up
    return {input, position - up * input + up - 1};
  }
};

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_TILE_H_
