// The parts of filtered_lrelu on tensor cores, for 16-bit images, that the blocks for separable and for radial filters
// share: their place, transfers from and to global memory, operands, and the nonlinearity.
//
// Every one-dimensional pass multiplies a constant banded matrix by a [positions, channels] tile: a few m16n8k16
// products with 16 channels as rows. A block takes 16 channels, a strip of output columns and a segment of output rows,
// and sweeps down in stripes of LINES rows of the upsampled image, the "samples".
//
// Planes hold 16-byte vectors of 8 channels. Their pitches are odd, and the two halves of a pixel's channels swap
// places in every other group of 4 columns, so that the 8 vectors of one matrix lie in different banks.

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
  int batch, channels, chunks;
  int steps, columns;          // along x: of 16 samples; of input
  int first_inner, end_inner;  // along x, samples in the image that read only inputs in the image
  int in_rows, in_pitch, rows_pitch, swept_pitch[2];  // a power of two; in vectors
  int in_at, rows_at, swept_at[2], out_at, filters_at, gains_at,
      words_at;  // in vectors from the start of shared memory
  int word_pitch, shared_vectors;
  int aligned;      // pixels begin at multiples of that many numbers: 8, 2 or 1
  float slope;      // of SG3_APPLY_MASK
  float bent;       // of the other modes: the activated sample is z + bent * |z|
  float out_scale;  // makes up for the scales of the filters
};

// A row of taps, as bits of the type that a pass multiplies in. Zeros around the taps serve all other places in the
// filter matrices.
constexpr int kMmaMargin = 32;
template <int SIZE>
struct MmaTapRow {
  uint16_t bits[kMmaMargin + SIZE];
};

// Filters, scaled so that numbers between two passes do not overflow, and rounding a sample to float16 clamps it.
// The radial one is [y, x] and replaces up_y and up_x, or down_y and down_x.
struct MmaTaps {
  MmaTapRow<64> up_y[2], up_x;      // up_y[1]: what rounding takes away from up_y[0]
  MmaTapRow<64> down_y, down_x[2];  // down_x[1]: times the slope, of SG3_APPLY_MASK
  MmaTapRow<32> radial[kMmaRadialTaps];
  float gain_y[24], gain_x[24];  // the taps of up_y and up_x, for the gain of the bias
};

// The type of the numbers between the passes. float16 is 8 times as precise as bfloat16, but its range is too small for
// gradients, whose scale is unknown.
template <class T, int MODE>
struct MmaInner {
  using Type = Half;
};
template <>
struct MmaInner<BFloat16, SG3_APPLY_MASK> {
  using Type = BFloat16;
};

SG3_HD constexpr int larger(int a, int b) { return a > b ? a : b; }
SG3_HD constexpr int smaller(int a, int b) { return a < b ? a : b; }

template <bool VALUE>
struct Flag {
  static constexpr bool kValue = VALUE;
};

template <int VALUE>
struct Number {
  static constexpr int kValue = VALUE;
};

template <class T, int UP, int DOWN, int MODE, int LINES>
struct MmaTile {
  using Inner = typename MmaInner<T, MODE>::Type;
  using Vector8 = Vector<uint16_t, 8>;  // of T, or of Inner

  static constexpr bool kHasBias = MODE != SG3_APPLY_MASK;
  static constexpr int kLines = LINES, kDown = DOWN;
  static constexpr int kUpTaps = kMmaTapsPerFactor * UP, kDownTaps = kMmaTapsPerFactor * DOWN;
  static constexpr int kNewRows = LINES / UP;  // input rows that a stripe adds
  static constexpr int kNewColumns = 16 / UP;  // input columns that a step of 16 samples adds
  static constexpr int kColumnTiles = LINES / 8;
  static constexpr int kUpParts = kIsHalf<T> ? 1 : 2;  // rounded filters of the first pass, whose sum is nearly exact
  static_assert((15 + kUpTaps - 1) / UP + 1 <= 16, "16 samples read at most 16 inputs");

  const MmaPlan& p;
  const MmaTaps& taps;
  const T *x, *bias;
  T* y;
  uint32_t* mask;
  Vector8* shared;
  int image, chunk, strip, segment;

  SG3_HD MmaTile(const MmaPlan& plan, const MmaTaps& taps, const T* x, const T* bias, T* y, uint32_t* mask,
                 void* shared, unsigned block)
      : p(plan), taps(taps), x(x), bias(bias), y(y), mask(mask), shared(static_cast<Vector8*>(shared)) {
    const auto take = [&](unsigned count) {
      const int index = int(block % count);
      block /= count;
      return index;
    };
    chunk = take(p.chunks);
    strip = take(p.x.parts);
    segment = take(p.y.parts);
    image = int(block);
    this->y += int64_t(image) * (plan.y.out_size * plan.x.out_size * plan.channels);
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

  // Makes the matrices first, first + 1, ...; tap(f, k, n) is row k and column n of matrix first + f.
  template <class Lane, class Tap>
  SG3_HD void put_filters(const Lane& lane, int first, int count, Tap tap) const {
    for (int i = lane.thread; i < count * 64; i += kMmaThreads) {
      const int f = i / 64, owner = i % 64 / 2, k = owner % 4 * 2 + i % 2 * 8, n = owner / 4;
      filters()[first * 64 + i] = tap(f, k, n) | uint32_t(tap(f, k + 1, n)) << 16;
    }
  }

  template <class Lane>
  SG3_HD void get_filter(const Lane& lane, int f, uint32_t (&b)[2]) const {
    b[0] = filters()[f * 64 + lane.lane * 2];
    b[1] = filters()[f * 64 + lane.lane * 2 + 1];
  }

  // Upsampling to samples 8 * tile + n, from inputs k; `first` is the tap of sample 0 and input 0.
  template <int SIZE>
  SG3_HD static uint16_t up_tap(const MmaTapRow<SIZE>& row, int first, int tile, int k, int n) {
    return row.bits[kMmaMargin + first + k * UP - n - tile * 8];
  }

  // Downsampling to output n, from samples 16 * step + k.
  template <int SIZE>
  SG3_HD static uint16_t down_tap(const MmaTapRow<SIZE>& row, int step, int k, int n) {
    return row.bits[kMmaMargin + step * 16 + k - n * DOWN];
  }

  // Filters along y: matrix part * kColumnTiles + tile. The products of the kUpParts rounded filters add up.
  template <class Lane>
  SG3_HD void put_up_y(const Lane& lane, int first) const {
    const int tap = first_tap(p.y, first_sample_y());
    put_filters(lane, first, kUpParts * kColumnTiles,
                [&](int f, int k, int n) { return up_tap(taps.up_y[f / kColumnTiles], tap, f % kColumnTiles, k, n); });
  }

  template <class Lane>
  SG3_HD void put_up_x(const Lane& lane, int first) const {
    const int tap = first_tap(p.x, first_sample_x());
    put_filters(lane, first, 2, [&](int f, int k, int n) { return up_tap(taps.up_x, tap, f, k, n); });
  }

  // -- Bias ---------------------------------------------------------------------------------------------------------
  //
  // The bias acts only inside the image. Added to the input, it would be rounded. Instead, sums start with the
  // upsampled bias: the bias times the gains of the filters along y and x for a signal that is 1 inside the image.

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
        gains()[kMmaColumnsAt + i] = gain_at(p.x, taps.gain_x, left + i);
      }
      if (lane.thread < UP) gains()[kMmaInnerAt + lane.thread] = gain_at(p.x, taps.gain_x, left + lane.thread, true);
      if (lane.thread < kMmaChannels) {
        const bool exists = chunk * kMmaChannels + lane.thread < p.channels;
        gains()[kMmaBiasAt + lane.thread] = exists ? to_float(bias[chunk * kMmaChannels + lane.thread]) : 0.f;
      }
    }
  }

  // Computes the gains of a stripe's rows, in the threads that have the fewest columns to upsample.
  template <class Lane>
  SG3_HD void make_line_gains(const Lane& lane, int stripe) const {
    if constexpr (kHasBias) {
      const int line = kMmaThreads - 1 - lane.thread;
      if (line < LINES) {
        gains()[kMmaLinesAt + line] = gain_at(p.y, taps.gain_y, first_sample_y() + stripe * LINES + line);
      }
    }
  }

  // -- Global memory ------------------------------------------------------------------------------------------------

  // Returns the number of the block's channels from `first` on; zero or negative if there are none.
  SG3_HD int left_channels(int first) const { return p.channels - chunk * kMmaChannels - first; }

  SG3_HD Vector8* input_row(int row) const { return shared + p.in_at + (row & (p.in_rows - 1)) * p.in_pitch; }

  // Starts copying kNewRows rows of input, zero outside the image, to the input plane. One or several warps copy a row,
  // 16 columns at a time.
  template <class Lane>
  SG3_HD void load_rows(Lane& lane, int row, int left) const {
    constexpr int kWarps = kMmaWarps / kNewRows;
    const int iy = row + lane.warp / kWarps;
    const int first = lane.warp % kWarps * 16 + (p.aligned == 8 ? lane.lane / 2 : lane.lane / 8);
    const int channel = p.aligned == 8 ? lane.lane % 2 * 8 : lane.lane % 8 * 2;
    const int channels = unsigned(iy) < unsigned(p.y.in_size) ? left_channels(channel) : 0;
    const int64_t pixel = (int64_t(image) * p.y.in_size + iy) * p.x.in_size + left + first;
    const T* from = x + pixel * p.channels + chunk * kMmaChannels + channel;
    if (p.aligned == 8) {
      Vector8* to = input_row(iy) + swizzled(first, channel / 8);
      SG3_KEEP_LOOP for (int column = first; column < p.columns; column += kWarps * 16) {
        lane.copy(from, channels > 0 && unsigned(left + column) < unsigned(p.x.in_size), to);
        from += kWarps * 16 * p.channels;
        to += kWarps * 32;
      }
    } else if (p.aligned == 2) {
      load_pairs<true>(lane, from, first, left, channels, input_row(iy) + first * 2);
    } else {
      load_pairs<false>(lane, from, first, left, channels, input_row(iy) + first * 2);
    }
  }

  // The same if pixels are not aligned: a lane has 2 channels of every fourth column, in one word if WORDS.
  template <bool WORDS, class Lane>
  SG3_HD void load_pairs(Lane& lane, const T* from, int first, int left, int channels, Vector8* to) const {
    constexpr int kWarps = kMmaWarps / kNewRows;
    const int pair = lane.lane % 8, stride = 4 * p.channels;
    uint32_t* places[2];  // in even and odd groups of 4 columns
    for (int i = 0; i < 2; ++i) places[i] = reinterpret_cast<uint32_t*>(to + (pair / 4 ^ i)) + pair % 4;
    int ix = left + first;
    SG3_KEEP_LOOP for (int column = first; column < p.columns; column += kWarps * 16) {
      uint32_t values[4];
      const T* pixel = from;
      SG3_UNROLL for (int i = 0; i < 4; ++i) {
        const bool inside = channels > 0 && unsigned(ix + i * 4) < unsigned(p.x.in_size);
        if constexpr (WORDS) {
          if (is_loaded(column, i)) lane.copy(pixel, inside, places[i % 2] + i * 32);
        } else {
          const uint32_t second = inside && channels > 1 ? pixel[1].bits : 0;
          values[i] = (inside ? pixel[0].bits : 0) | second << 16;
        }
        pixel += stride;
      }
      SG3_UNROLL for (int i = 0; i < 4; ++i) {
        if (!WORDS && is_loaded(column, i)) places[i % 2][i * 32] = values[i];
      }
      from += kWarps * stride * 4;
      for (int i = 0; i < 2; ++i) places[i] += kWarps * 128;
      ix += kWarps * 16;
    }
  }

  // Returns true if the input plane has group i of 4 columns, counted from a multiple of 16.
  SG3_HD bool is_loaded(int column, int i) const {
    constexpr int kGroups = kNewColumns / 4;  // that come together
    return i < kGroups || column + i / kGroups * kGroups * 4 < p.columns;
  }

  // Loads the 16 rows that the first stripe reads.
  template <class Lane>
  SG3_HD void load_first_rows(Lane& lane, int row, int left) const {
    for (int start = 0; start < 16; start += kNewRows) load_rows(lane, row + start, left);
  }

  // -- Outputs ------------------------------------------------------------------------------------------------------
  //
  // Each warp has room for 4 matrices of outputs, from which it reads those of a pixel together. The places in a matrix
  // are permuted so that neither writing nor reading causes bank conflicts.

  template <class Lane>
  SG3_HD Vector8* output_place(const Lane& lane, int matrix, int vector) const {
    return shared + p.out_at + lane.warp * 32 + matrix * 8 + (vector ^ (matrix % 2 * 4 + matrix / 2 * 2));
  }

  // Rounds [16, 8] outputs to the type of the image, and puts them into the matrices `first` and `first` + 1.
  template <class Lane>
  SG3_HD void put_outputs(Lane& lane, const float (&c)[4], int first) const {
    const float scale = p.out_scale;
    const uint32_t packed[2] = {pack<T>(c[0] * scale, c[1] * scale), pack<T>(c[2] * scale, c[3] * scale)};
    lane.template store_matrices<2>(packed, output_place(lane, first + half_of(lane), lane.lane % 8));
  }

  // How the lanes of a warp share the 16 pixels in its matrices: each has 8 channels of one, or 2 of every fourth.
  struct Share {
    int pixel, channel;
  };
  template <class Lane>
  SG3_HD Share share_of(const Lane& lane) const {
    return p.aligned == 8 ? Share{lane.lane / 2, lane.lane % 2 * 8} : Share{lane.lane / 8, lane.lane % 8 * 2};
  }

  // Returns the offset in y, which is the image, of an output from one of the block's channels on.
  SG3_HD int output_at(int row, int column, int channel) const {
    const int pixel = (segment * p.y.outputs + row) * p.x.out_size + strip * p.x.outputs + column;
    return pixel * p.channels + chunk * kMmaChannels + channel;
  }

  // Writes this lane's channels of a pixel, which is vector `vector` of the matrices `first` and `first` + 1.
  template <int ALIGNED, class Lane>
  SG3_HD void store_output(const Lane& lane, int first, int vector, int channel, int at) const {
    const Vector8* from = output_place(lane, first + channel / 8, vector);
    T* const to = y + at;
    if constexpr (ALIGNED == 8) {
      store_vector(*from, reinterpret_cast<uint16_t*>(to));
      return;
    }
    const uint32_t pair = reinterpret_cast<const uint32_t*>(from)[channel % 8 / 2];
    if constexpr (ALIGNED == 2) {
      *reinterpret_cast<uint32_t*>(to) = pair;
    } else {
      to[0].bits = uint16_t(pair);
      if (left_channels(channel) > 1) to[1].bits = uint16_t(pair >> 16);
    }
  }

  // Calls store(Number<ALIGNED>(), i) for each of the pixels share_of(lane).pixel + 4 * i.
  template <class Store>
  SG3_HD void for_shared(Store store) const {
    if (p.aligned == 8) {
      store(Number<8>(), 0);
    } else if (p.aligned == 2) {
      SG3_UNROLL for (int i = 0; i < 4; ++i) store(Number<2>(), i);
    } else {
      SG3_UNROLL for (int i = 0; i < 4; ++i) store(Number<1>(), i);
    }
  }

  // -- Upsampling along columns -------------------------------------------------------------------------------------

  // The position, and the half of the channels, of the vector whose address this lane passes when four matrices are
  // loaded or stored.
  template <class Lane>
  SG3_HD static int position_of(const Lane& lane) {
    return lane.lane % 8 + lane.lane / 16 * 8;
  }
  template <class Lane>
  SG3_HD static int half_of(const Lane& lane) {
    return lane.lane / 8 % 2;
  }

  // Upsamples the 16 input rows that begin with `row` to LINES rows, with the matrices of put_up_y.
  template <class Lane>
  SG3_HD void upsample_columns(Lane& lane, int row, int first_filter) const {
    uint32_t b[kUpParts * kColumnTiles][2];
    SG3_UNROLL for (int f = 0; f < kUpParts * kColumnTiles; ++f) get_filter(lane, first_filter + f, b[f]);
    const int first = swizzled(lane.warp, half_of(lane));
    const Vector8* in = input_row(row + position_of(lane)) + first;
    Vector8* out = shared + p.rows_at + position_of(lane) * p.rows_pitch + first;
    for (int column = lane.warp; column < p.columns; column += kMmaWarps) {
      uint32_t a[4], packed[2 * kColumnTiles];
      lane.template load_matrices<4>(in, a);
      SG3_UNROLL for (int n = 0; n < kColumnTiles; ++n) {
        float c[4] = {};
        SG3_UNROLL for (int part = 0; part < kUpParts; ++part) {
          lane.template multiply_add<T>(a, b[part * kColumnTiles + n], c, c);
        }
        packed[2 * n] = pack_saturated<Inner>(c[0], c[1]);
        packed[2 * n + 1] = pack_saturated<Inner>(c[2], c[3]);
      }
      lane.template store_matrices<2 * kColumnTiles>(packed, out);
      in += 2 * kMmaWarps;
      out += 2 * kMmaWarps;
    }
  }

  // -- Samples ------------------------------------------------------------------------------------------------------

  // One row of samples: values that are constant along it, and values that advance with every 16 samples.
  struct Line {
    int index;                // in the stripe
    int left, width;          // the first column; of the image, or 0 if the row is outside
    float bias[2], inner[4];  // times the gain along y; for inner samples, also times the gain along x
    int first_word;           // of SG3_ACTIVATE_AND_MASK: this lane's sample, counted from the first word that ...
    int count_words;          // ... this block writes, and the number of these words

    int at;                   // the next 16 samples, from the left of the strip
    int place, stride;        // in vectors from the start of a row: their inputs; to the next ones
    const Vector8* inputs;    // the same place in the rows plane
    const uint32_t* applied;  // of SG3_APPLY_MASK: this lane's words of the samples, in shared memory
    uint16_t* written;        // of SG3_ACTIVATE_AND_MASK: this lane's half of a word, in the mask
  };

  template <class Lane>
  SG3_HD Line line_at(const Lane& lane, int stripe, int index) const {
    Line l = {};
    const int sample_y = first_sample_y() + stripe * LINES + index;
    l.index = index;
    l.left = first_sample_x();
    l.width = unsigned(sample_y) < unsigned(p.y.up_size) ? p.x.up_size : 0;
    l.place = swizzled(position_of(lane), half_of(lane));
    l.inputs = shared + p.rows_at + index * p.rows_pitch + l.place;
    l.stride = kNewColumns == 8 ? 16 : swizzled(position_of(lane) + 4, half_of(lane)) - l.place;
    if constexpr (MODE == SG3_APPLY_MASK) l.applied = words(index) + lane.lane % 4 * 2;
    if constexpr (kHasBias) {
      SG3_UNROLL for (int h = 0; h < 2; ++h) {
        l.bias[h] = gains()[kMmaBiasAt + lane.lane / 4 + h * 8] * gains()[kMmaLinesAt + index];
        SG3_UNROLL for (int e = 0; e < 2; ++e) {
          l.inner[2 * h + e] = l.bias[h] * gains()[kMmaInnerAt + (lane.lane % 4 * 2 + e) % UP];
        }
      }
    }
    if constexpr (MODE == SG3_ACTIVATE_AND_MASK) {
      const bool owned = stripe * LINES + index < p.y.outputs * DOWN || segment == p.y.parts - 1;
      const int last = p.x.up_size - l.left, end = strip == p.x.parts - 1 ? last : smaller(last, p.x.outputs * DOWN);
      const int first = larger(0, -l.left), word = word_of(lane);
      l.first_word = word - first;
      l.count_words = owned && l.width > 0 ? larger(0, end - first) : 0;  // a strip may lie beside the image
      l.written = reinterpret_cast<uint16_t*>(mask_row(sample_y) + l.left + word) + lane.lane % 2;
    }
    return l;
  }

  // Advances by 16 samples.
  SG3_HD static void advance(Line* line) {
    line->at += 16;
    line->place += line->stride;
    line->inputs += line->stride;
    if (kNewColumns < 8) line->stride = 16 - line->stride;  // the halves of the next 4 columns have swapped places
    line->applied += 16;
    line->written += 32;
  }

  // Sweeps a row, `step` samples at a time: sweep(Flag<INNER>(), end) advances to sample `end`. INNER samples are in
  // the image, read only inputs in the image, and are not before `begin`.
  template <class Sweep>
  SG3_HD void sweep_line(const Line& line, int step, int begin, Sweep sweep) const {
    const int end = p.steps * 16;
    if constexpr (!kHasBias) {
      sweep(Flag<false>(), begin);
      sweep(Flag<true>(), end);
    } else {
      const int first_inner = larger((p.first_inner - line.left + step - 1) & -step, begin);
      const int end_inner = smaller((p.end_inner - line.left) & -step, end);
      const bool inside = line.width > 0 && first_inner < end_inner;
      sweep(Flag<false>(), inside ? first_inner : end);
      if (!inside) return;
      sweep(Flag<true>(), end_inner);
      sweep(Flag<false>(), end);
    }
  }

  // Computes z, bias included, of 8 of the next samples, from `first` on, for 16 channels. `up` upsamples along x.
  template <bool INNER, class Lane>
  SG3_HD void upsample_row(Lane& lane, const Line& line, int first, const uint32_t (&a)[4], const uint32_t (&up)[2],
                           float (&z)[4]) const {
    float start[4] = {};
    if constexpr (kHasBias && INNER) {
      SG3_UNROLL for (int i = 0; i < 4; ++i) start[i] = line.inner[i];
    } else if constexpr (kHasBias) {
      const float* gain = gains() + kMmaColumnsAt + line.at + first + lane.lane % 4 * 2;
      SG3_UNROLL for (int i = 0; i < 4; ++i) start[i] = line.bias[i / 2] * gain[i % 2];
    }
    lane.template multiply_add<Inner>(a, up, start, z);
  }

  // Applies the nonlinearity to the next 16 samples and rounds them; they are zero outside the image.
  template <bool INNER, class Lane>
  SG3_HD void activate(Lane& lane, const Line& line, const float (&z)[2][4], uint32_t (&samples)[4]) const {
    const int left = line.left + line.at + lane.lane % 4 * 2;  // of this lane's first sample
    SG3_UNROLL for (int n = 0; n < 2; ++n) {
      float active[4];
      SG3_UNROLL for (int i = 0; i < 4; ++i) {
        active[i] = z[n][i] + p.bent * fabsf(z[n][i]);
        if (!INNER && unsigned(left + n * 8 + i % 2) >= unsigned(line.width)) active[i] = 0;
      }
      samples[2 * n] = pack_saturated<Inner>(active[0], active[1]);
      samples[2 * n + 1] = pack_saturated<Inner>(active[2], active[3]);
    }
    if constexpr (MODE == SG3_ACTIVATE_AND_MASK) {
      const uint32_t half = half_word(lane, samples);
      if (unsigned(line.at + line.first_word) < unsigned(line.count_words)) *line.written = uint16_t(half);
    }
  }

  // -- Mask words ---------------------------------------------------------------------------------------------------

  SG3_HD uint32_t* mask_row(int sample_y) const {
    const int64_t row = (int64_t(image) * p.chunks + chunk) * p.y.up_size + sample_y;
    return mask + row * p.x.up_size;
  }

  // Returns which of 16 samples is the one whose half word half_word returns in this lane.
  template <class Lane>
  SG3_HD static int word_of(const Lane& lane) {
    return lane.lane / 4 + lane.lane % 4 / 2 * 8;
  }

  // Returns the signs of a sample's 16 channels in even lanes, and its clamps in odd lanes: the channels that rounding
  // to float16 has saturated. A product of bytes, which are 0 or -1, sums the bits of 8 channels.
  template <class Lane>
  SG3_HD uint32_t half_word(Lane& lane, const uint32_t (&samples)[4]) const {
    uint32_t a[4];
    SG3_UNROLL for (int i = 0; i < 4; ++i) {
      const uint32_t x = samples[i / 2 + i % 2 * 2];
      a[i] = lane.transpose(permute_bytes(x, below_saturation(x), 0xfbd9));
    }
    // Columns n and n + 4 of the second operand: signs of channels 0 to 7, of 8 to 15, clamps of 0 to 7, of 8 to 15.
    const int column = lane.lane / 4, first = lane.lane % 4 * 2;
    const uint32_t bits = ((-(1u << first) & 0xff) | (-(2u << first) & 0xff) << 16) << (column & 2 ? 8 : 0);
    const uint32_t b[2] = {column & 1 ? 0 : bits, column & 1 ? bits : 0};
    int sums[4];
    lane.multiply_bytes(a, b, sums);
    const uint32_t low = permute_bytes(sums[0], sums[2], 0x40), high = permute_bytes(sums[1], sums[3], 0x40);
    return permute_bytes(low, high, lane.lane & 2 ? 0x51 : 0x40);
  }

  // The words of SG3_APPLY_MASK for a stripe, in shared memory. Samples outside the image count as clamped.
  SG3_HD uint32_t* words(int line) const {
    return reinterpret_cast<uint32_t*>(shared + p.words_at) + line * p.word_pitch;
  }

  template <class Lane>
  SG3_HD void load_words(Lane& lane, int stripe) const {
    if constexpr (MODE == SG3_APPLY_MASK) {
      const int left = first_sample_x() + lane.lane;
      SG3_KEEP_LOOP for (int line = lane.warp; line < LINES; line += kMmaWarps) {
        const int sample_y = first_sample_y() + stripe * LINES + line;
        const int width = unsigned(sample_y) < unsigned(p.y.up_size) ? p.x.up_size : 0;
        const uint32_t* from = mask_row(sample_y) + left;
        uint32_t* to = words(line) + lane.lane;
        SG3_KEEP_LOOP for (int column = 0; column < p.word_pitch; column += 32) {
          if (unsigned(left + column) < unsigned(width)) {
            lane.copy(from, to);
          } else {
            *to = kClamped;
          }
          from += 32;
          to += 32;
        }
      }
    }
  }
  static constexpr uint32_t kClamped = 0xffff0000;

  // Splits the next 16 samples, rounded, into those with factor 1 and those that the slope multiplies.
  template <class Lane>
  SG3_HD static void split(const Lane& lane, const Line& line, const float (&z)[2][4], uint32_t (&positive)[4],
                           uint32_t (&negative)[4]) {
    SG3_UNROLL for (int n = 0; n < 2; ++n) {
      const auto pair = *reinterpret_cast<const Vector<uint32_t, 2>*>(line.applied + n * 8);
      const int shift = 7 - lane.lane / 4;  // the bits of this lane's channels become the highest of bytes
      const uint32_t first = pair.at[0] << shift, second = pair.at[1] << shift;
      SG3_UNROLL for (int h = 0; h < 2; ++h) {
        const uint32_t sample = pack<Inner>(z[n][2 * h], z[n][2 * h + 1]);
        const uint32_t sign = permute_bytes(first, second, h ? 0xdd99 : 0xcc88);
        const uint32_t clamp = permute_bytes(first, second, h ? 0xffbb : 0xeeaa);
        positive[2 * n + h] = sample & ~sign & ~clamp;
        negative[2 * n + h] = sample & sign & ~clamp;
      }
    }
  }
};

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_TILE_H_
