// filtered_lrelu by tensor cores, for images stored in 16 bits: the work of one block of threads.
//
// Every one-dimensional pass is a banded matrix, which is constant, times a [positions, channels] tile, and so a few
// m16n8k16 products with 16 channels as rows. A block takes 16 channels, a strip of output columns and a segment of
// output rows, and sweeps down in stripes of 16 rows of the upsampled image:
//
//   1. columns: 16 input rows -> 16 upsampled rows of each input column           input plane -> rows plane
//   2. rows:    upsample, nonlinearity and downsample 16 samples at a time; the   rows plane  -> swept plane
//               sum of one product has the layout of the next one's operand, so that samples never leave registers
//   3. columns: the last stripes -> 8 output rows                                 swept plane -> output plane
//   4. output plane -> y; the next input rows, loaded early -> input plane
//
// Planes hold 16-byte vectors of 8 channels; their pitches are odd, and the second half of a pixel's channels swaps
// place with the first in every other group of 4 columns, so that the 8 vectors of one matrix lie in different banks.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_BLOCK_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_BLOCK_H_

#include "custom_ops/filtered_lrelu/problem.h"
#include "custom_ops/resampling/cuda/mma.h"

namespace sg3::cuda {

constexpr int kMmaThreads = 256, kMmaWarps = kMmaThreads / 32;
constexpr int kMmaChannels = 16;  // of a block: those of a mask word
constexpr int kMmaTapsPerFactor = 6;
constexpr int kMmaHeldVectors = 4;  // of the next input rows, for each thread

struct MmaAxis {
  int up_before, down_before, in_size, up_size, out_size;
  int outputs, parts;  // of a block; blocks along this axis
};

struct MmaPlan {
  MmaAxis y, x;
  int64_t batch, channels, chunks;
  int steps, columns;                                // along x: of 16 samples; of input
  int in_pitch, rows_pitch, swept_pitch, out_pitch;  // in vectors
  int in_at, rows_at, swept_at, out_at, filters_at;  // in vectors from the start of shared memory
  int64_t shared_vectors;
  Divisor by_columns, by_outputs;
  bool vectors;  // pixels begin at multiples of 16 bytes
  float slope, clamp;
};

// The filters of both axes, zero behind their ends.
struct MmaTaps {
  float up_y[24], up_x[24], down_y[24], down_x[24];
};

template <class T, int UP, int DOWN, int MODE>
struct MmaBlock {
  static constexpr int kUpTaps = kMmaTapsPerFactor * UP, kDownTaps = kMmaTapsPerFactor * DOWN;
  static constexpr int kNew = 16 / UP;                               // inputs that the next 16 samples add
  static constexpr int kReach = ceil_div(7 * DOWN + kDownTaps, 16);  // steps of 16 samples that 8 outputs read
  static constexpr int kAdvance = DOWN / 2;                          // steps from 8 outputs to the next 8
  static constexpr int kFilters = 4 + 2 * kReach;
  static_assert((15 + kUpTaps - 1) / UP + 1 <= 16, "16 samples read at most 16 inputs");
  static_assert(8 * DOWN == 16 * kAdvance && kReach % kAdvance == 0, "");

  using Vector8 = Vector<T, 8>;

  const MmaPlan& p;
  const MmaTaps& taps;
  const T *x, *bias;
  T* y;
  uint32_t* mask;
  Vector8* shared;
  int64_t image, chunk;
  int strip, segment;

  SG3_HD MmaBlock(const MmaPlan& plan, const MmaTaps& taps, const T* x, const T* bias, T* y, uint32_t* mask,
                  void* shared, int64_t block)
      : p(plan), taps(taps), x(x), bias(bias), y(y), mask(mask), shared(static_cast<Vector8*>(shared)) {
    chunk = block % p.chunks;
    block /= p.chunks;
    strip = int(block % p.x.parts);
    block /= p.x.parts;
    segment = int(block % p.y.parts);
    image = block / p.y.parts;
  }

  SG3_HD int first_sample_y() const { return segment * p.y.outputs * DOWN - p.y.down_before; }
  SG3_HD int first_sample_x() const { return strip * p.x.outputs * DOWN - p.x.down_before; }
  SG3_HD static int first_input(const MmaAxis& axis, int sample) {
    return int(-floor_div(axis.up_before - sample, UP));  // rounded up
  }
  SG3_HD static int swizzled(int column, int half) { return column * 2 + (half ^ (column >> 2 & 1)); }

  // All phases, for one thread.
  template <class Lane>
  SG3_HD void run(Lane& lane) const {
    const int first_row = first_input(p.y, first_sample_y()), left = first_input(p.x, first_sample_x());
    const int end = p.y.out_size - segment * p.y.outputs;
    const int tiles = ceil_div(end < p.y.outputs ? end : p.y.outputs, 8);
    const int stripes = (tiles - 1) * kAdvance + kReach;

    make_filters(lane);
    for (int start = 0; start < 16; start += kNew) {
      Vector8 held[kMmaHeldVectors];
      load_rows(lane, first_row + start, left, held);
      keep_rows(lane, first_row + start, held);
    }
    lane.sync();
    for (int stripe = 0; stripe < stripes; ++stripe) {
      const int row = first_row + stripe * kNew;
      const bool more = stripe + 1 < stripes;
      Vector8 held[kMmaHeldVectors];
      if (more) load_rows(lane, row + 16, left, held);
      upsample_columns(lane, row);
      lane.sync();
      sweep_rows(lane, stripe);
      lane.sync();
      const int done = stripe - (kReach - 1);
      const bool has_outputs = done >= 0 && done % kAdvance == 0;
      if (has_outputs) {
        downsample_columns(lane, stripe - (kReach - 1));
        lane.sync();
        store_outputs(lane, done / kAdvance);
      }
      if (more) keep_rows(lane, row + 16, held);
      lane.sync();
    }
  }

  // -- Filters as operands ------------------------------------------------------------------------------------------

  // Entry [k, n] of filter matrix f: 0 and 1 upsample y, 2 and 3 x, then kReach matrices downsample y, and as many x.
  SG3_HD float filter_entry(int f, int k, int n) const {
    if (f < 4) {
      const MmaAxis& axis = f < 2 ? p.y : p.x;
      const int sample = f < 2 ? first_sample_y() : first_sample_x();
      const int phase = first_input(axis, sample) * UP - sample + axis.up_before;
      const int tap = k * UP + phase - (n + f % 2 * 8);
      return unsigned(tap) < unsigned(kUpTaps) ? (f < 2 ? taps.up_y : taps.up_x)[tap] : 0.f;
    }
    const int step = (f - 4) % kReach;
    const int tap = step * 16 + k - n * DOWN;
    return unsigned(tap) < unsigned(kDownTaps) ? (f < 4 + kReach ? taps.down_y : taps.down_x)[tap] : 0.f;
  }

  SG3_HD uint32_t* filters() const { return reinterpret_cast<uint32_t*>(shared + p.filters_at); }

  template <class Lane>
  SG3_HD void make_filters(Lane& lane) const {
    for (int i = lane.thread; i < kFilters * 64; i += kMmaThreads) {
      const int f = i / 64, owner = i % 64 / 2, k = owner % 4 * 2 + i % 2 * 8, n = owner / 4;
      filters()[i] = pack<T>(filter_entry(f, k, n), filter_entry(f, k + 1, n));
    }
  }

  template <class Lane>
  SG3_HD void get_filter(const Lane& lane, int f, uint32_t (&b)[2]) const {
    b[0] = filters()[f * 64 + lane.lane * 2];
    b[1] = filters()[f * 64 + lane.lane * 2 + 1];
  }

  // -- Global memory ------------------------------------------------------------------------------------------------

  SG3_HD int left_channels() const {
    const int64_t left = p.channels - chunk * kMmaChannels;
    return left < kMmaChannels ? int(left) : kMmaChannels;
  }

  // kNew rows of input plus bias, zero outside the image.
  template <class Lane>
  SG3_HD void load_rows(const Lane& lane, int row, int left, Vector8 (&held)[kMmaHeldVectors]) const {
    const int half = lane.thread % 2, channels = left_channels() - half * 8;  // kMmaThreads is even
    Vector8 offset = {};
    if constexpr (MODE != SG3_APPLY_MASK) {
      SG3_UNROLL for (int c = 0; c < 8; ++c) {
        if (c < channels) offset.at[c] = bias[chunk * kMmaChannels + half * 8 + c];
      }
    }
    SG3_UNROLL for (int h = 0; h < kMmaHeldVectors; ++h) {
      const int i = lane.thread / 2 + h * (kMmaThreads / 2);
      const int line = p.by_columns.quotient(i), iy = row + line, ix = left + i - line * p.columns;
      held[h] = {};
      if (line >= kNew || unsigned(iy) >= unsigned(p.y.in_size) || unsigned(ix) >= unsigned(p.x.in_size)) continue;
      const int64_t pixel = (image * p.y.in_size + iy) * p.x.in_size + ix;
      const T* from = x + pixel * p.channels + chunk * kMmaChannels + half * 8;
      if (p.vectors) {
        if (channels > 0) held[h] = *reinterpret_cast<const Vector8*>(from);
      } else {
        SG3_UNROLL for (int c = 0; c < 8; ++c) {
          if (c < channels) held[h].at[c] = from[c];
        }
      }
      if constexpr (MODE != SG3_APPLY_MASK) held[h] = sum(held[h], offset);
    }
  }

  template <class Lane>
  SG3_HD void keep_rows(const Lane& lane, int row, const Vector8 (&held)[kMmaHeldVectors]) const {
    SG3_UNROLL for (int h = 0; h < kMmaHeldVectors; ++h) {
      const int i = lane.thread / 2 + h * (kMmaThreads / 2);
      const int line = p.by_columns.quotient(i), column = i - line * p.columns;
      if (line < kNew) shared[p.in_at + ((row + line) & 15) * p.in_pitch + column * 2 + lane.thread % 2] = held[h];
    }
  }

  template <class Lane>
  SG3_HD void store_outputs(const Lane& lane, int tile) const {
    const int half = lane.thread % 2, channels = left_channels() - half * 8;
    if (channels <= 0) return;
    for (int i = lane.thread / 2; i < 8 * p.x.outputs; i += kMmaThreads / 2) {
      const int line = p.by_outputs.quotient(i), column = i - line * p.x.outputs;
      const int oy = segment * p.y.outputs + tile * 8 + line, ox = strip * p.x.outputs + column;
      if (oy >= p.y.out_size || ox >= p.x.out_size) continue;
      const Vector8 value = shared[p.out_at + line * p.out_pitch + column * 2 + half];
      const int64_t pixel = (image * p.y.out_size + oy) * p.x.out_size + ox;
      T* to = y + pixel * p.channels + chunk * kMmaChannels + half * 8;
      if (p.vectors) {
        *reinterpret_cast<Vector8*>(to) = value;
      } else {
        SG3_UNROLL for (int c = 0; c < 8; ++c) {
          if (c < channels) to[c] = value.at[c];
        }
      }
    }
  }

  // -- Passes along columns -----------------------------------------------------------------------------------------

  // Position and half of the channels whose vector this lane names when four matrices are loaded or stored.
  template <class Lane>
  SG3_HD static int position_of(const Lane& lane) {
    return lane.lane % 8 + lane.lane / 16 * 8;
  }
  template <class Lane>
  SG3_HD static int half_of(const Lane& lane) {
    return lane.lane / 8 % 2;
  }

  template <class Lane>
  SG3_HD void upsample_columns(Lane& lane, int row) const {
    uint32_t b[2][2];
    get_filter(lane, 0, b[0]);
    get_filter(lane, 1, b[1]);
    const Vector8* in = shared + p.in_at + ((row + position_of(lane)) & 15) * p.in_pitch + half_of(lane);
    Vector8* out = shared + p.rows_at + position_of(lane) * p.rows_pitch;
    for (int column = lane.warp; column < p.columns; column += kMmaWarps) {
      uint32_t a[4], packed[4];
      lane.template load_matrices<4>(in + column * 2, a);
      SG3_UNROLL for (int n = 0; n < 2; ++n) {
        float c[4] = {};
        lane.template multiply_add<T>(a, b[n], c);
        packed[2 * n] = pack<T>(c[0], c[1]);
        packed[2 * n + 1] = pack<T>(c[2], c[3]);
      }
      lane.template store_matrices<4>(packed, out + swizzled(column, half_of(lane)));
    }
  }

  template <class Lane>
  SG3_HD void downsample_columns(Lane& lane, int first_stripe) const {
    uint32_t b[kReach][2];
    SG3_UNROLL for (int step = 0; step < kReach; ++step) get_filter(lane, 4 + step, b[step]);
    for (int column = lane.warp; column < p.x.outputs; column += kMmaWarps) {
      float c[4] = {};
      SG3_UNROLL for (int step = 0; step < kReach; ++step) {
        const int row = (first_stripe + step) % kReach * 16 + position_of(lane);
        uint32_t a[4];
        lane.template load_matrices<4>(shared + p.swept_at + row * p.swept_pitch + swizzled(column, half_of(lane)), a);
        lane.template multiply_add<T>(a, b[step], c);
      }
      const uint32_t packed[2] = {pack<T>(c[0], c[1]), pack<T>(c[2], c[3])};
      lane.template store_matrices<2>(packed,
                                      shared + p.out_at + lane.lane % 8 * p.out_pitch + column * 2 + half_of(lane));
    }
  }

  // -- The pass along rows ------------------------------------------------------------------------------------------

  template <class Lane>
  SG3_HD void sweep_rows(Lane& lane, int stripe) const {
    uint32_t up[2][2], down[kReach][2];
    get_filter(lane, 2, up[0]);
    get_filter(lane, 3, up[1]);
    SG3_UNROLL for (int step = 0; step < kReach; ++step) get_filter(lane, 4 + kReach + step, down[step]);
    for (int line = lane.warp; line < 16; line += kMmaWarps) sweep_row(lane, stripe, line, up, down);
  }

  template <class Lane>
  SG3_HD void sweep_row(Lane& lane, int stripe, int line, const uint32_t (&up)[2][2],
                        const uint32_t (&down)[kReach][2]) const {
    const int position = position_of(lane), half = half_of(lane);
    const Vector8* in = shared + p.rows_at + line * p.rows_pitch;
    Vector8* out = shared + p.swept_at + (stripe % kReach * 16 + line) * p.swept_pitch;
    const int sample_y = first_sample_y() + stripe * 16 + line;
    const bool inside = unsigned(sample_y) < unsigned(p.y.up_size);
    const bool owned = stripe * 16 + line < p.y.outputs * DOWN || segment == p.y.parts - 1;
    const int left = first_sample_x();
    constexpr int kSums = kReach / kAdvance;  // tiles of 8 outputs that are under way
    float sums[kSums][4] = {};
    uint32_t a[4];
    for (int first = 0; first < p.steps; first += kAdvance) {
      SG3_UNROLL for (int s = 0; s < kAdvance; ++s) {
        const int step = first + s;
        load_inputs(lane, in, step, position, half, a);
        uint32_t samples[4] = {};
        if (inside) {
          SG3_UNROLL for (int n = 0; n < 2; ++n) {
            float z[4] = {};
            lane.template multiply_add<T>(a, up[n], z);
            apply_nonlinearity(lane, sample_y, left + step * 16 + n * 8,
                               owned && (step * 16 + n * 8 < p.x.outputs * DOWN || strip == p.x.parts - 1), z);
            samples[2 * n] = pack<T>(z[0], z[1]);
            samples[2 * n + 1] = pack<T>(z[2], z[3]);
          }
        }
        // The oldest tile reads these samples by its last filter matrix.
        SG3_UNROLL for (int tile = 0; tile < kSums; ++tile) {
          lane.template multiply_add<T>(samples, down[(kSums - 1 - tile) * kAdvance + s], sums[tile]);
        }
      }
      const int column = (first / kAdvance - (kSums - 1)) * 8;
      if (column >= 0) {
        const uint32_t packed[2] = {pack<T>(sums[0][0], sums[0][1]), pack<T>(sums[0][2], sums[0][3])};
        lane.template store_matrices<2>(packed, out + swizzled(column + lane.lane % 8, half));
      }
      SG3_UNROLL for (int tile = 0; tile < kSums; ++tile) {
        SG3_UNROLL for (int i = 0; i < 4; ++i) sums[tile][i] = tile + 1 < kSums ? sums[tile + 1][i] : 0.f;
      }
    }
  }

  // 16 inputs of a row, from step * kNew on; with kNew = 8 the first 8 are the last 8 of the step before.
  template <class Lane>
  SG3_HD static void load_inputs(Lane& lane, const Vector8* in, int step, int position, int half, uint32_t (&a)[4]) {
    if (kNew == 8 && step > 0) {
      a[0] = a[2];
      a[1] = a[3];
      lane.template load_matrices<2>(in + swizzled(step * kNew + 8 + lane.lane % 8, half), a + 2);
    } else {
      lane.template load_matrices<4>(in + swizzled(step * kNew + position, half), a);
    }
  }

  // z: samples (left + pair, left + pair + 1) of channel `group`, then of channel `group + 8`.
  template <class Lane>
  SG3_HD void apply_nonlinearity(Lane& lane, int sample_y, int left, bool owned, float (&z)[4]) const {
    const int group = lane.lane / 4, pair = lane.lane % 4 * 2;
    const int64_t chunks = p.chunks;
    if constexpr (MODE == SG3_APPLY_MASK) {
      const uint32_t* words = mask + ((image * chunks + chunk) * p.y.up_size + sample_y) * p.x.up_size;
      SG3_UNROLL for (int e = 0; e < 2; ++e) {
        const int column = left + pair + e;
        const bool exists = unsigned(column) < unsigned(p.x.up_size);
        const uint32_t bits = exists ? words[column] >> group : 0;
        SG3_UNROLL for (int h = 0; h < 2; ++h) {
          float& value = z[2 * h + e];
          value *= bits >> 8 * h & 1 ? p.slope : 1.f;
          if (!exists || bits >> 8 * h & 0x10000) value = 0;
        }
      }
    } else {
      uint32_t bits[2] = {};
      SG3_UNROLL for (int i = 0; i < 4; ++i) {
        const float active = larger(z[i], z[i] * p.slope);  // slope <= 1
        if constexpr (MODE == SG3_ACTIVATE_AND_MASK) {
          const int bit = group + i / 2 * 8;
          bits[i % 2] |= uint32_t(z[i] < 0) << bit | uint32_t(!(fabsf(active) < p.clamp)) << (16 + bit);
        }
        z[i] = smaller(larger(active, -p.clamp), p.clamp);
      }
      if constexpr (MODE == SG3_ACTIVATE_AND_MASK) {
        // Lanes of equal pairs have the channels of two words: gather them, then the first word in even groups.
        const bool odd = group & 1;
        uint32_t word = odd ? bits[1] : bits[0];
        word |= lane.exchange(odd ? bits[0] : bits[1], 4);
        word |= lane.exchange(word, 8);
        word |= lane.exchange(word, 16);
        const int column = left + pair + (odd ? 1 : 0);
        if (group < 2 && owned && unsigned(column) < unsigned(p.x.up_size)) {
          mask[((image * chunks + chunk) * p.y.up_size + sample_y) * p.x.up_size + column] = word;
        }
      }
      if (left < 0 || left + 8 > p.x.up_size) {  // beyond the image
        SG3_UNROLL for (int i = 0; i < 4; ++i) {
          if (unsigned(left + pair + i % 2) >= unsigned(p.x.up_size)) z[i] = 0;
        }
      }
    }
  }
};

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_BLOCK_H_
