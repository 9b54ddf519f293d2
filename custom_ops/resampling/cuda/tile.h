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

// Returns output o of a line: the sum of taps[k] * line[i * stride] over up * i = o * down + phase - (up - 1) + k.
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
