// filtered_lrelu by tensor cores, for images stored in 16 bits: what the blocks for separable and for radial filters
// share, which is their place, transfers from and to global memory, operands, and the nonlinearity.
//
// Every one-dimensional pass is a banded matrix, which is constant, times a [positions, channels] tile, and so a few
// m16n8k16 products with 16 channels as rows. A block takes 16 channels, a strip of output columns and a segment of
// output rows, and sweeps down in stripes of LINES rows of the upsampled image, the "samples".
//
// Planes hold 16-byte vectors of 8 channels; their pitches are odd, and the second half of a pixel's channels swaps
// place with the first in every other group of 4 columns, so that the 8 vectors of one matrix lie in different banks.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_TILE_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_TILE_H_

#include "custom_ops/filtered_lrelu/problem.h"
#include "custom_ops/resampling/cuda/mma.h"

namespace sg3::cuda {

constexpr int kMmaThreads = 256, kMmaWarps = kMmaThreads / 32;
constexpr int kMmaChannels = 16;  // of a block: those of a mask word
constexpr int kMmaTapsPerFactor = 6;
constexpr int kMmaRadialTaps = 12;  // along either axis

// Places in the table of gains (see MmaTile::make_gains), which ends with one entry for each column of samples.
constexpr int kMmaBiasAt = 0, kMmaInnerAt = 16, kMmaLinesAt = 20, kMmaColumnsAt = 36;

enum class MmaRadial { kNone, kUp, kDown };  // the side with a radial filter

struct MmaAxis {
  int up_before, down_before, in_size, up_size, out_size;
  int outputs, parts;  // of a block; blocks along this axis
};

struct MmaPlan {
  MmaAxis y, x;
  int64_t batch, channels, chunks;
  int steps, columns;                                          // along x: of 16 samples; of input
  int in_pitch, rows_pitch, swept_pitch, out_pitch;            // in vectors
  int in_at, rows_at, swept_at, out_at, filters_at, gains_at;  // in vectors from the start of shared memory
  int64_t shared_vectors;
  Divisor by_columns, by_outputs;
  bool vectors;  // pixels begin at multiples of 16 bytes
  float slope;   // of SG3_APPLY_MASK
  // Of the other modes: the activated sample is linear * z + bent * |z|, and it is clamped if it reaches the bound.
  // They contain a scale that turns the clamp into the largest float16 number, so that rounding to float16 clamps.
  float linear, bent, bound;
  float out_scale;  // makes up for that scale and for those of the filters
};

// Filters, with zeros behind their ends. They are scaled so that numbers between two passes do not overflow. The radial
// one is [y, x] and replaces up_y and up_x, or down_y and down_x.
struct MmaTaps {
  float up_y[24], up_x[24], down_y[24], down_x[24], radial[kMmaRadialTaps * kMmaRadialTaps];
};

// The type of the numbers between the passes. float16 is 8 times as precise as bfloat16, but its range is too small for
// gradients, of which no scale is known.
template <class T, int MODE>
struct MmaInner {
  using Type = Half;
};
template <>
struct MmaInner<BFloat16, SG3_APPLY_MASK> {
  using Type = BFloat16;
};

template <class T>
SG3_HD float rounded(float value) {
  T result;
  from_float(value, &result);
  return to_float(result);
}

template <bool VALUE>
struct Flag {
  static constexpr bool kValue = VALUE;
};

template <class T, int UP, int DOWN, int MODE, int LINES>
struct MmaTile {
  using Inner = typename MmaInner<T, MODE>::Type;
  using Vector8 = Vector<uint16_t, 8>;  // of T, or of Inner

  static constexpr bool kHasBias = MODE != SG3_APPLY_MASK;
  static constexpr int kLines = LINES;
  static constexpr int kUpTaps = kMmaTapsPerFactor * UP, kDownTaps = kMmaTapsPerFactor * DOWN;
  static constexpr int kNewRows = LINES / UP;  // input rows that a stripe adds
  static constexpr int kNewColumns = 16 / UP;  // input columns that a step of 16 samples adds
  // Of the next input rows, for each thread: room for 64 columns, or 96 where a stripe adds only 4 rows.
  static constexpr int kHeldVectors = kNewRows == 4 && LINES == 8 ? 3 : kNewRows / 2;
  static constexpr int kColumnTiles = LINES / 8;
  static constexpr int kUpParts = kIsHalf<T> ? 1 : 2;  // rounded filters of the first pass, whose sum is nearly exact
  static_assert((15 + kUpTaps - 1) / UP + 1 <= 16, "16 samples read at most 16 inputs");

  const MmaPlan& p;
  const MmaTaps& taps;
  const T *x, *bias;
  T* y;
  uint32_t* mask;
  Vector8* shared;
  int64_t image, chunk;
  int strip, segment;

  SG3_HD MmaTile(const MmaPlan& plan, const MmaTaps& taps, const T* x, const T* bias, T* y, uint32_t* mask,
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
  SG3_HD static int first_tap(const MmaAxis& axis, int sample) {
    return first_input(axis, sample) * UP - sample + axis.up_before;
  }
  SG3_HD int output_rows() const {
    const int left = p.y.out_size - segment * p.y.outputs;
    return left < p.y.outputs ? left : p.y.outputs;
  }
  SG3_HD static int swizzled(int column, int half) { return column * 2 + (half ^ (column >> 2 & 1)); }

  // -- Filters as operands ------------------------------------------------------------------------------------------

  SG3_HD uint32_t* filters() const { return reinterpret_cast<uint32_t*>(shared + p.filters_at); }

  // Rounds the matrices first, first + 1, ... to N; entry(f, k, n) is row k and column n of matrix first + f.
  template <class N, class Lane, class Entry>
  SG3_HD void put_filters(const Lane& lane, int first, int count, Entry entry) const {
    for (int i = lane.thread; i < count * 64; i += kMmaThreads) {
      const int f = i / 64, owner = i % 64 / 2, k = owner % 4 * 2 + i % 2 * 8, n = owner / 4;
      filters()[first * 64 + i] = pack<N>(entry(f, k, n), entry(f, k + 1, n));
    }
  }

  template <class Lane>
  SG3_HD void get_filter(const Lane& lane, int f, uint32_t (&b)[2]) const {
    b[0] = filters()[f * 64 + lane.lane * 2];
    b[1] = filters()[f * 64 + lane.lane * 2 + 1];
  }

  // Upsampling to samples 8 * tile + n, from inputs k.
  SG3_HD float up_entry(const MmaAxis& axis, const float* axis_taps, int sample, int tile, int k, int n) const {
    const int tap = k * UP + first_tap(axis, sample) - (n + tile * 8);
    return unsigned(tap) < unsigned(kUpTaps) ? axis_taps[tap] : 0.f;
  }

  // Downsampling to output n, from samples 16 * step + k.
  SG3_HD static float down_entry(const float* axis_taps, int step, int k, int n) {
    const int tap = step * 16 + k - n * DOWN;
    return unsigned(tap) < unsigned(kDownTaps) ? axis_taps[tap] : 0.f;
  }

  // Along y, the sums of the kUpParts roundings: matrix part * kColumnTiles + tile.
  template <class Lane>
  SG3_HD void put_up_y(const Lane& lane, int first) const {
    put_filters<T>(lane, first, kUpParts * kColumnTiles, [&](int f, int k, int n) {
      const float tap = up_entry(p.y, taps.up_y, first_sample_y(), f % kColumnTiles, k, n);
      return f < kColumnTiles ? tap : tap - rounded<T>(tap);
    });
  }

  template <class Lane>
  SG3_HD void put_up_x(const Lane& lane, int first) const {
    put_filters<Inner>(lane, first, 2,
                       [&](int f, int k, int n) { return up_entry(p.x, taps.up_x, first_sample_x(), f, k, n); });
  }

  // -- Bias ---------------------------------------------------------------------------------------------------------
  //
  // The bias acts inside the image only. Added to the input it would be rounded there; upsampled, it is the bias times
  // the gains of the filters along y and x for a signal that is 1 inside the image, and that is what sums begin with.

  SG3_HD float* gains() const { return reinterpret_cast<float*>(shared + p.gains_at); }

  SG3_HD float gain_at(const MmaAxis& axis, const float* axis_taps, int sample, bool inner = false) const {
    const int first = first_input(axis, sample), tap = first_tap(axis, sample);
    float gain = 0;
    for (int i = 0; i < kMmaTapsPerFactor; ++i) {
      if (inner || unsigned(first + i) < unsigned(axis.in_size)) gain += axis_taps[tap + i * UP];
    }
    return gain;
  }

  template <class Lane>
  SG3_HD void make_gains(const Lane& lane) const {
    if constexpr (kHasBias) {
      const int left = first_sample_x();
      for (int i = lane.thread; i < p.steps * 16; i += kMmaThreads) {
        gains()[kMmaColumnsAt + i] = gain_at(p.x, taps.up_x, left + i);
      }
      if (lane.thread < UP) gains()[kMmaInnerAt + lane.thread] = gain_at(p.x, taps.up_x, left + lane.thread, true);
      if (lane.thread < kMmaChannels) {
        const bool exists = lane.thread < left_channels();
        gains()[kMmaBiasAt + lane.thread] = exists ? to_float(bias[chunk * kMmaChannels + lane.thread]) : 0.f;
      }
    }
  }

  // Of the rows of a stripe, by the threads that have the fewest columns to upsample.
  template <class Lane>
  SG3_HD void make_line_gains(const Lane& lane, int stripe) const {
    if constexpr (kHasBias) {
      const int line = kMmaThreads - 1 - lane.thread;
      if (line < LINES) {
        gains()[kMmaLinesAt + line] = gain_at(p.y, taps.up_y, first_sample_y() + stripe * LINES + line);
      }
    }
  }

  // -- Global memory ------------------------------------------------------------------------------------------------

  SG3_HD int left_channels() const {
    const int64_t left = p.channels - chunk * kMmaChannels;
    return left < kMmaChannels ? int(left) : kMmaChannels;
  }

  // kNewRows rows of input, zero outside the image.
  template <class Lane>
  SG3_HD void load_rows(const Lane& lane, int row, int left, Vector8 (&held)[kHeldVectors]) const {
    const int half = lane.thread % 2, channels = left_channels() - half * 8;  // kMmaThreads is even
    SG3_UNROLL for (int h = 0; h < kHeldVectors; ++h) {
      const int i = lane.thread / 2 + h * (kMmaThreads / 2);
      const int line = p.by_columns.quotient(i), iy = row + line, ix = left + i - line * p.columns;
      held[h] = {};
      if (line >= kNewRows || unsigned(iy) >= unsigned(p.y.in_size) || unsigned(ix) >= unsigned(p.x.in_size)) continue;
      const int64_t pixel = (image * p.y.in_size + iy) * p.x.in_size + ix;
      const T* from = x + pixel * p.channels + chunk * kMmaChannels + half * 8;
      if (p.vectors) {
        if (channels > 0) held[h] = *reinterpret_cast<const Vector8*>(from);
      } else {
        SG3_UNROLL for (int c = 0; c < 8; ++c) {
          if (c < channels) held[h].at[c] = from[c].bits;
        }
      }
    }
  }

  template <class Lane>
  SG3_HD void keep_rows(const Lane& lane, int row, const Vector8 (&held)[kHeldVectors]) const {
    SG3_UNROLL for (int h = 0; h < kHeldVectors; ++h) {
      const int i = lane.thread / 2 + h * (kMmaThreads / 2);
      const int line = p.by_columns.quotient(i), column = i - line * p.columns;
      if (line < kNewRows) input_row(row + line)[swizzled(column, lane.thread % 2)] = held[h];
    }
  }

  // The 16 rows that the first stripe reads.
  template <class Lane>
  SG3_HD void load_first_rows(const Lane& lane, int row, int left) const {
    for (int start = 0; start < 16; start += kNewRows) {
      Vector8 held[kHeldVectors];
      load_rows(lane, row + start, left, held);
      keep_rows(lane, row + start, held);
    }
  }

  SG3_HD Vector8* input_row(int row) const { return shared + p.in_at + (row & 15) * p.in_pitch; }

  // `lines` rows of the output plane, of which the first is row `first` of the segment.
  template <class Lane>
  SG3_HD void store_outputs(const Lane& lane, int first, int lines) const {
    const int half = lane.thread % 2, channels = left_channels() - half * 8, end = output_rows();
    if (channels <= 0) return;
    for (int i = lane.thread / 2; i < lines * p.x.outputs; i += kMmaThreads / 2) {
      const int line = p.by_outputs.quotient(i), column = i - line * p.x.outputs;
      const int oy = first + line, ox = strip * p.x.outputs + column;
      if (unsigned(oy) >= unsigned(end) || ox >= p.x.out_size) continue;
      const Vector8 value = shared[p.out_at + line * p.out_pitch + swizzled(column, half)];
      const int64_t pixel = (image * p.y.out_size + segment * p.y.outputs + oy) * p.x.out_size + ox;
      T* to = y + pixel * p.channels + chunk * kMmaChannels + half * 8;
      if (p.vectors) {
        store_vector(value, reinterpret_cast<uint16_t*>(to));
      } else {
        SG3_UNROLL for (int c = 0; c < 8; ++c) {
          if (c < channels) to[c].bits = value.at[c];
        }
      }
    }
  }

  // Rounds 8 outputs of a row to the type of the image, and puts them into the output plane.
  template <class Lane>
  SG3_HD void put_outputs(Lane& lane, const float (&c)[4], Vector8* row) const {
    const float scale = p.out_scale;
    const uint32_t packed[2] = {pack<T>(c[0] * scale, c[1] * scale), pack<T>(c[2] * scale, c[3] * scale)};
    lane.template store_matrices<2>(packed, row);
  }

  // -- Upsampling along columns -------------------------------------------------------------------------------------

  // Position and half of the channels whose vector this lane names when four matrices are loaded or stored.
  template <class Lane>
  SG3_HD static int position_of(const Lane& lane) {
    return lane.lane % 8 + lane.lane / 16 * 8;
  }
  template <class Lane>
  SG3_HD static int half_of(const Lane& lane) {
    return lane.lane / 8 % 2;
  }

  // LINES rows from the 16 input rows that begin with `row`, by the matrices of put_up_y.
  template <class Lane>
  SG3_HD void upsample_columns(Lane& lane, int row, int first_filter) const {
    uint32_t b[kUpParts * kColumnTiles][2];
    SG3_UNROLL for (int f = 0; f < kUpParts * kColumnTiles; ++f) get_filter(lane, first_filter + f, b[f]);
    const Vector8* in = input_row(row + position_of(lane));
    Vector8* out = shared + p.rows_at + position_of(lane) * p.rows_pitch;
    const int first = swizzled(lane.warp, half_of(lane));
    for (int column = lane.warp; column < p.columns; column += kMmaWarps) {
      const int place = first + (column - lane.warp) * 2;
      uint32_t a[4], packed[2 * kColumnTiles];
      lane.template load_matrices<4>(in + place, a);
      SG3_UNROLL for (int n = 0; n < kColumnTiles; ++n) {
        float c[4] = {};
        SG3_UNROLL for (int part = 0; part < kUpParts; ++part) {
          lane.template multiply_add<T>(a, b[part * kColumnTiles + n], c, c);
        }
        packed[2 * n] = pack_saturated<Inner>(c[0], c[1]);
        packed[2 * n + 1] = pack_saturated<Inner>(c[2], c[3]);
      }
      lane.template store_matrices<2 * kColumnTiles>(packed, out + place);
    }
  }

  // -- Samples ------------------------------------------------------------------------------------------------------

  // One row of samples, and what is constant along it.
  struct Line {
    int sample_y, left;
    bool inside, owned;           // in the image; with mask words that this block writes
    int first_inner, last_inner;  // 16 samples from such a column are in the image, as are all inputs that they read
    float bias[2], inner[4];      // times the gain along y; for inner samples, times the gain along x, too
  };

  template <class Lane>
  SG3_HD Line line_at(const Lane& lane, int stripe, int line) const {
    Line l = {};
    l.sample_y = first_sample_y() + stripe * LINES + line;
    l.left = first_sample_x();
    l.inside = unsigned(l.sample_y) < unsigned(p.y.up_size);
    l.owned = stripe * LINES + line < p.y.outputs * DOWN || segment == p.y.parts - 1;
    int first = 0, last = p.x.up_size - 16;
    if constexpr (kHasBias) {
      const int first_input_inside = p.x.up_before - UP + 1;
      const int last_input_inside = p.x.up_before + UP * (p.x.in_size - kMmaTapsPerFactor) - 15;
      first = first < first_input_inside ? first_input_inside : first;
      last = last > last_input_inside ? last_input_inside : last;
      SG3_UNROLL for (int h = 0; h < 2; ++h) {
        l.bias[h] = gains()[kMmaBiasAt + lane.lane / 4 + h * 8] * gains()[kMmaLinesAt + line];
        SG3_UNROLL for (int e = 0; e < 2; ++e) {
          l.inner[2 * h + e] = l.bias[h] * gains()[kMmaInnerAt + (lane.lane % 4 * 2 + e) % UP];
        }
      }
    }
    l.first_inner = first - l.left;
    l.last_inner = last - l.left;
    return l;
  }

  // z of 8 samples from column `at` on: of 16 channels, the bias included. `up` upsamples along x.
  template <bool INNER, class Lane>
  SG3_HD void upsample_row(Lane& lane, const Line& line, int at, const uint32_t (&a)[4], const uint32_t (&up)[2],
                           float (&z)[4]) const {
    float start[4] = {};
    if constexpr (kHasBias && INNER) {
      SG3_UNROLL for (int i = 0; i < 4; ++i) start[i] = line.inner[i];
    } else if constexpr (kHasBias) {
      const float* gain = gains() + kMmaColumnsAt + at + lane.lane % 4 * 2;
      SG3_UNROLL for (int i = 0; i < 4; ++i) start[i] = line.bias[i / 2] * gain[i % 2];
    }
    lane.template multiply_add<Inner>(a, up, start, z);
  }

  // The nonlinearity on 16 samples from column `at` on, rounded; zero outside the image.
  template <bool INNER, class Lane>
  SG3_HD void activate(Lane& lane, const Line& line, int at, float (&z)[2][4], uint32_t (&samples)[4]) const {
    const int group = lane.lane / 4, left = line.left + at + lane.lane % 4 * 2;  // of this lane's first sample
    uint32_t* words = mask + ((image * p.chunks + chunk) * p.y.up_size + line.sample_y) * p.x.up_size;
    SG3_UNROLL for (int n = 0; n < 2; ++n) {
      float active[4];
      if constexpr (MODE == SG3_APPLY_MASK) {
        SG3_UNROLL for (int e = 0; e < 2; ++e) {
          const int column = left + n * 8 + e;
          const bool exists = INNER || unsigned(column) < unsigned(p.x.up_size);
          const uint32_t bits = exists ? words[column] >> group : 0;
          SG3_UNROLL for (int h = 0; h < 2; ++h) {
            const float factor = bits >> 8 * h & 1 ? p.slope : 1.f;
            active[2 * h + e] = !exists || bits >> 8 * h & 0x10000 ? 0.f : z[n][2 * h + e] * factor;
          }
        }
      } else {
        SG3_UNROLL for (int i = 0; i < 4; ++i) {
          active[i] = p.linear * z[n][i] + p.bent * fabsf(z[n][i]);
          if (!INNER && unsigned(left + n * 8 + i % 2) >= unsigned(p.x.up_size)) active[i] = 0;
        }
      }
      samples[2 * n] = pack_saturated<Inner>(active[0], active[1]);
      samples[2 * n + 1] = pack_saturated<Inner>(active[2], active[3]);
    }
    if constexpr (MODE == SG3_ACTIVATE_AND_MASK) {
      // Lanes with the same remainder modulo 4 have the channels of the same four words. Each exchange halves the words
      // that a lane still gathers, until each of them is complete in two lanes.
      uint32_t bits[2][2];
      SG3_UNROLL for (int n = 0; n < 2; ++n) mask_bits(z[n], samples[2 * n], samples[2 * n + 1], group, bits[n]);
      const bool odd = group & 1, second = group & 2;
      uint32_t half[2];
      SG3_UNROLL for (int n = 0; n < 2; ++n) {
        half[n] = (odd ? bits[n][1] : bits[n][0]) | lane.exchange(odd ? bits[n][0] : bits[n][1], 4);
      }
      uint32_t word = (second ? half[1] : half[0]) | lane.exchange(second ? half[0] : half[1], 8);
      word |= lane.exchange(word, 16);
      const int offset = (second ? 8 : 0) + (odd ? 1 : 0);
      const bool owned = line.owned && (at + offset < p.x.outputs * DOWN || strip == p.x.parts - 1);
      if (group < 4 && owned && (INNER || unsigned(left + offset) < unsigned(p.x.up_size))) words[left + offset] = word;
    }
  }

  // The bits of two channels, `group` and `group` + 8, in the mask words of two samples. z are as multiply_add leaves
  // them, `first` and `second` the same rounded; a sample is clamped where rounding to float16 has saturated.
  SG3_HD static void mask_bits(const float (&z)[4], uint32_t first, uint32_t second, int group, uint32_t (&bits)[2]) {
    const uint32_t a = (first & 0x7fff7fff) + 0x04010401, b = (second & 0x7fff7fff) + 0x04010401;
    SG3_UNROLL for (int e = 0; e < 2; ++e) {
      const uint32_t signs = permute_bytes(bits_of(z[e]), bits_of(z[2 + e]), 0x0073);
      const uint32_t clamps = permute_bytes(a, b, e == 0 ? 0x0051 : 0x0073);
      bits[e] = (permute_bytes(signs, clamps, 0x5410) & 0x80808080) >> (7 - group);
    }
  }

  // 16 inputs of a row, from step * kNewColumns on.
  template <class Lane>
  SG3_HD static void load_inputs(Lane& lane, const Vector8* in, int step, uint32_t (&a)[4]) {
    const int column = step * kNewColumns, eights = column & ~7;
    lane.template load_matrices<4>(in + eights * 2 + swizzled(column - eights + position_of(lane), half_of(lane)), a);
  }
};

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_TILE_H_
