// filtered_lrelu with the filters of StyleGAN3 in float32 arithmetic: the work of one block of threads.
//
// A block takes 16 channels, a strip of output columns and a segment of output rows, and moves down in stripes of 16
// rows of samples (pixels of the upsampled image):
//
//   1. sweep: each thread moves along one row of one channel, in steps of 16 samples, which it upsamples, activates and
//      downsamples in registers                                                           rows plane -> swept plane
//   2. columns: each thread has 4 channels of one column. It downsamples the swept stripe into output rows, and
//      upsamples the next input rows into the next stripe         swept plane -> y, x -> rows plane
//
// All positions within a stripe or step are compile-time constants, and so are the taps at these positions. State that
// a row or column carries from one stripe or step to the next stays in registers.
//
// A radial downsampling filter is the sum of several separable terms, each with its own swept plane. Their horizontal
// filters must be even, so that the two samples that meet the same tap are added once for all terms. The adjoint has
// several upsampling terms, each with its own rows plane.

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_SWEEP_BLOCK_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_SWEEP_BLOCK_H_

#include "custom_ops/filtered_lrelu/problem.h"
#include "custom_ops/resampling/cuda/mma.h"

namespace sg3::cuda {

constexpr int kSweepThreads = 256;
constexpr int kSweepChannels = 16;  // of a block: those of a mask word
constexpr int kSweepLength = 16;    // samples of a step, and rows of a stripe
constexpr int kSweepTapsPerFactor = 6;
constexpr int kSweepMostTaps = 4 * kSweepTapsPerFactor;
constexpr int kSweepMostTerms = 6;                                     // of an even filter of 12 x 12 taps
constexpr int kSweepCarried = kSweepTapsPerFactor - 1;                 // outputs that a step leaves incomplete
constexpr int kSweepMostColumns = kSweepThreads * 4 / kSweepChannels;  // of input

struct SweepAxis {
  int up_before, down_before, in_size, up_size, out_size;
  int outputs, parts;  // of a block; blocks along this axis
  int steps;           // of kSweepLength samples, in a block
};

struct SweepPlan {
  SweepAxis y, x;
  int64_t batch, channels, chunks;
  int columns;  // of input, in a block
  float slope, clamp;
};

SG3_HD int64_t num_sweep_blocks(const SweepPlan& p) { return p.batch * p.chunks * p.y.parts * p.x.parts; }

// The filters by term, padded with zeros at the end.
struct SweepTaps {
  float up_y[kSweepMostTerms][kSweepMostTaps], up_x[kSweepMostTerms][kSweepMostTaps];
  float down_y[kSweepMostTerms][kSweepMostTaps], down_x[kSweepMostTerms][kSweepMostTaps];
};

// Parameters that are compiled in.
struct SweepShape {
  int up, down, up_terms, down_terms;
  int capacity;  // the most steps of a row

  SG3_HD constexpr int new_inputs() const { return kSweepLength / up; }     // that 16 more samples read
  SG3_HD constexpr int new_outputs() const { return kSweepLength / down; }  // that they complete
  // Sample j of a step reads 6 inputs from input_of(j) on, counted from the step's first input, and 6 taps from
  // tap_of(j) on, `up` apart. The phase is that of the first sample.
  SG3_HD constexpr int phase() const { return up == down ? 1 : up == 4 ? 2 : 0; }
  SG3_HD constexpr int input_of(int j) const { return (j + up - 1 - phase()) / up; }
  SG3_HD constexpr int tap_of(int j) const { return up * input_of(j) + phase() - j; }
  SG3_HD constexpr int inputs() const { return input_of(kSweepLength - 1) + kSweepTapsPerFactor; }  // of a step
  SG3_HD constexpr int held_inputs() const { return inputs() - new_inputs(); }  // also read by the step before

  // Planes are [16 rows, pitch, 16 channels]. If the outputs of a row never overtake its inputs, the first swept plane
  // is the first rows plane. Odd pitches put the two rows of a warp into different banks.
  SG3_HD constexpr bool in_place() const { return up <= down; }
  SG3_HD constexpr int rows_pitch() const { return (capacity * new_inputs() + held_inputs()) | 1; }
  SG3_HD constexpr int swept_pitch(int term) const {
    return in_place() && term == 0 ? rows_pitch() : (capacity * new_outputs()) | 1;
  }
  SG3_HD constexpr int rows_at(int term) const { return term * kSweepLength * kSweepChannels * rows_pitch(); }
  SG3_HD constexpr int swept_at(int term) const {
    if (in_place() && term == 0) return 0;
    return rows_at(up_terms) + (term - (in_place() ? 1 : 0)) * kSweepLength * kSweepChannels * swept_pitch(term);
  }
  SG3_HD constexpr int shared_floats() const {
    return in_place() && down_terms == 1 ? rows_at(up_terms) : swept_at(down_terms);
  }
};

// Return the larger and the smaller of two numbers; if the first is NaN, the result is NaN.
SG3_HD float larger(float a, float b) {
#if __CUDA_ARCH__ >= 800
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
#else
  return a < b ? b : a;
#endif
}

SG3_HD float smaller(float a, float b) {
#if __CUDA_ARCH__ >= 800
  float result;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
#else
  return a > b ? b : a;
#endif
}

// Appends the sign of a number to bits. One instruction, where a comparison would need three.
SG3_HD uint32_t with_sign(uint32_t bits, float value) {
#ifdef __CUDA_ARCH__
  const uint32_t word = __float_as_uint(value);
#else
  uint32_t word;
  memcpy(&word, &value, sizeof word);
#endif
  return bits << 1 | word >> 31;
}

// Transposes two matrices of 16 x 16 bits, one in the upper and one in the lower halves of the words. Each group of 16
// lanes passes the rows of two matrices and gets their columns.
template <class Lane>
SG3_HD uint32_t transposed_bits(Lane& lane, uint32_t word) {
  SG3_UNROLL for (int distance = 8; distance >= 1; distance /= 2) {
    const uint32_t low = distance == 8   ? 0x00ff00ffu
                         : distance == 4 ? 0x0f0f0f0fu
                         : distance == 2 ? 0x33333333u
                                         : 0x55555555u;  // the bits whose index lacks `distance`
    const bool upper = lane.lane & distance;
    const uint32_t kept = upper ? ~low : low;
    const int left = upper ? 32 - distance : distance;
    const uint32_t other = lane.exchange(word, distance);
    word = (word & kept) | ((other << left | other >> (32 - left)) & ~kept);
  }
  return word;
}

// WIDTH channels are accessed together: 4 or 1.
template <class T, int WIDTH, int UP, int DOWN, int MODE, int UP_TERMS, int DOWN_TERMS, int CAPACITY>
struct SweepBlock {
  SG3_HD static constexpr SweepShape shape() { return {UP, DOWN, UP_TERMS, DOWN_TERMS, CAPACITY}; }
  static constexpr int kDownTaps = kSweepTapsPerFactor * DOWN;
  static constexpr int kNew = kSweepLength / UP,
                       kInputs = SweepShape{UP, DOWN, UP_TERMS, DOWN_TERMS, CAPACITY}.inputs(), kHeld = kInputs - kNew;
  static constexpr int kOut = kSweepLength / DOWN;
  static constexpr int kHistory = kSweepCarried * DOWN;  // samples before a step that its outputs read
  static_assert((UP == 2 && DOWN == 2) || (UP == 4 && DOWN == 2) || (UP == 2 && DOWN == 4), "");
  static_assert(UP_TERMS == 1 || (DOWN_TERMS == 1 && MODE == SG3_APPLY_MASK && UP <= DOWN), "");
  static_assert(DOWN_TERMS == 1 || DOWN == 2, "");

  using Access = Vector<T, WIDTH>;

  const SweepPlan& p;
  const SweepTaps& taps;
  const T *x, *bias;
  T* y;
  uint32_t* mask;
  float* shared;
  int64_t image, chunk;
  int strip, segment;

  SG3_HD SweepBlock(const SweepPlan& plan, const SweepTaps& taps, const T* x, const T* bias, T* y, uint32_t* mask,
                    float* shared, int64_t block)
      : p(plan), taps(taps), x(x), bias(bias), y(y), mask(mask), shared(shared) {
    chunk = block % p.chunks;
    block /= p.chunks;
    strip = int(block % p.x.parts);
    block /= p.x.parts;
    segment = int(block % p.y.parts);
    image = block / p.y.parts;
  }

  SG3_HD static int first_sample(const SweepAxis& axis, int part) {
    return part * axis.outputs * DOWN - axis.down_before;
  }

  // The plan ensures that this division leaves no remainder.
  SG3_HD static int first_input(const SweepAxis& axis, int part) {
    return int(floor_div(first_sample(axis, part) - axis.up_before + shape().phase(), UP));
  }

  // All phases, for one thread.
  template <class Lane>
  SG3_HD void run(Lane& lane) const {
    Column column(*this, lane.thread);
    column.load(*this, 0);
    column.upsample(*this);
    lane.sync();
    for (int stripe = 0; stripe < p.y.steps; ++stripe) {
      sweep(lane, stripe);
      lane.sync();
      column.downsample(*this);
      if (stripe + 1 < p.y.steps) {
        column.load(*this, kHeld);
        column.upsample(*this);
      }
      lane.sync();
    }
  }

  // -- Along columns ------------------------------------------------------------------------------------------------

  // One thread's 4 channels of a column of input, and of the output column at the same place in the planes. Because one
  // thread has both, it can replace the output by the next input without waiting for other threads.
  struct Column {
    int index, lane;
    int channels;         // how many of the 4 exist
    const T* from;        // the next input
    T* to;                // the next output, including those that lie before the block's
    int in_row, out_row;  // their rows; out_row counts from the start of the segment
    int64_t in_stride, out_stride;
    bool inside, has_outputs;
    float inputs[kInputs][4] = {}, sums[kSweepCarried + 1][4] = {};

    SG3_HD Column(const SweepBlock& b, int thread) : index(thread / 4), lane(thread % 4 * 4) {
      const SweepPlan& p = b.p;
      const int64_t channel = b.chunk * kSweepChannels + lane, left = p.channels - channel;
      channels = left < 0 ? 0 : left < 4 ? int(left) : 4;
      in_stride = p.x.in_size * p.channels;
      out_stride = p.x.out_size * p.channels;
      const int ix = first_input(p.x, b.strip) + index;
      inside = index < p.columns && unsigned(ix) < unsigned(p.x.in_size);
      in_row = first_input(p.y, b.segment);
      from = b.x + (b.image * p.y.in_size + in_row) * in_stride + ix * p.channels + channel;
      const int column = index - kSweepCarried, ox = b.strip * p.x.outputs + column;
      has_outputs = unsigned(column) < unsigned(p.x.outputs) && ox < p.x.out_size && channels > 0;
      out_row = -kSweepCarried;
      to = b.y + (b.image * p.y.out_size + b.segment * p.y.outputs + out_row) * out_stride + ox * p.channels + channel;
    }

    // Loads inputs begin..kInputs of the next stripe: biased, zero outside the image. Those before `begin` are known.
    SG3_HD void load(const SweepBlock& b, int begin) {
      float offset[4] = {};
      if constexpr (MODE != SG3_APPLY_MASK) {
        SG3_UNROLL for (int c = 0; c < 4; ++c) {
          if (c < channels) offset[c] = to_float(b.bias[b.chunk * kSweepChannels + lane + c]);
        }
      }
      SG3_UNROLL for (int i = 0; i < kInputs; ++i) {
        if (i < begin) {
          SG3_UNROLL for (int c = 0; c < 4; ++c) inputs[i][c] = inputs[i + kNew][c];
          continue;
        }
        const bool exists = inside && unsigned(in_row) < unsigned(b.p.y.in_size);
        SG3_UNROLL for (int c = 0; c < 4; c += WIDTH) {
          Access pixel = {};
          if (exists && c < channels) pixel = *reinterpret_cast<const Access*>(from + c);
          SG3_UNROLL for (int e = 0; e < WIDTH; ++e) {
            inputs[i][c + e] = exists ? to_float(pixel.at[e]) + offset[c + e] : 0.f;
          }
        }
        from += in_stride;
        ++in_row;
      }
    }

    // Upsamples the inputs to the rows planes.
    SG3_HD void upsample(const SweepBlock& b) const {
      if (index >= b.p.columns) return;
      SG3_UNROLL for (int term = 0; term < UP_TERMS; ++term) {
        float* to = b.shared + shape().rows_at(term) + index * kSweepChannels + lane;
        SG3_UNROLL for (int j = 0; j < kSweepLength; ++j) {
          float values[4] = {};
          SG3_UNROLL for (int k = 0; k < kSweepTapsPerFactor; ++k) {
            SG3_UNROLL for (int c = 0; c < 4; ++c) {
              values[c] += inputs[shape().input_of(j) + k][c] * b.taps.up_y[term][shape().tap_of(j) + k * UP];
            }
          }
          put_values<4>(values, to + j * (shape().rows_pitch() * kSweepChannels));
        }
      }
    }

    // Downsamples the swept planes to the outputs that this stripe completes.
    SG3_HD void downsample(const SweepBlock& b) {
      if (!has_outputs) return;
      const int left = b.p.y.out_size - b.segment * b.p.y.outputs, end = left < b.p.y.outputs ? left : b.p.y.outputs;
      SG3_UNROLL for (int i = 0; i < kOut; ++i) {
        SG3_UNROLL for (int term = 0; term < DOWN_TERMS; ++term) {
          const int pitch = shape().swept_pitch(term) * kSweepChannels;
          const float* from = b.shared + shape().swept_at(term) + index * kSweepChannels + lane;
          SG3_UNROLL for (int j = 0; j < DOWN; ++j) {
            float values[4];
            get_values<4>(from + (i * DOWN + j) * pitch, values);
            SG3_UNROLL for (int m = 0; m <= kSweepCarried; ++m) {
              SG3_UNROLL for (int c = 0; c < 4; ++c) {
                sums[m][c] += values[c] * b.taps.down_y[term][(kSweepCarried - m) * DOWN + j];
              }
            }
          }
        }
        if (unsigned(out_row) < unsigned(end)) store(sums[0]);
        to += out_stride;
        ++out_row;
        SG3_UNROLL for (int m = 0; m <= kSweepCarried; ++m) {
          SG3_UNROLL for (int c = 0; c < 4; ++c) sums[m][c] = m < kSweepCarried ? sums[m + 1][c] : 0.f;
        }
      }
    }

    SG3_HD void store(const float (&values)[4]) const {
      SG3_UNROLL for (int c = 0; c < 4; c += WIDTH) {
        Access pixel;
        SG3_UNROLL for (int e = 0; e < WIDTH; ++e) from_float(values[c + e], &pixel.at[e]);
        if (c < channels) store_vector(pixel, to + c);
      }
    }
  };

  // -- Along rows ---------------------------------------------------------------------------------------------------

  template <class Lane>
  SG3_HD void sweep(Lane& lane, int stripe) const {
    const int row = lane.thread / kSweepChannels, channel = lane.thread % kSweepChannels;
    const int sample_y = first_sample(p.y, segment) + stripe * kSweepLength + row;
    const bool inside = unsigned(sample_y) < unsigned(p.y.up_size);
    const bool owned = stripe * kSweepLength + row < p.y.outputs * DOWN || segment == p.y.parts - 1;
    const int left = first_sample(p.x, strip);
    // A thread's channel is also the number of the sample in a step whose mask word it reads or writes. Beyond
    // word_end, other blocks write.
    const int next_left = left + p.x.outputs * DOWN;
    const bool shares_row = MODE == SG3_ACTIVATE_AND_MASK && strip + 1 < p.x.parts && next_left < p.x.up_size;
    const int word_end = shares_row ? next_left : p.x.up_size;
    uint32_t* words = mask + ((image * p.chunks + chunk) * p.y.up_size + sample_y) * p.x.up_size;
    const bool has_words = inside && (MODE == SG3_APPLY_MASK || owned);

    const float* in = shared + row * (shape().rows_pitch() * kSweepChannels) + channel;
    float* out[DOWN_TERMS];
    SG3_UNROLL for (int term = 0; term < DOWN_TERMS; ++term) {
      out[term] = shared + shape().swept_at(term) + row * (shape().swept_pitch(term) * kSweepChannels) + channel;
    }
    Upsampling upsampling(in);
    Downsampling downsampling;
    uint32_t next_word = 0;
    if constexpr (MODE == SG3_APPLY_MASK) next_word = word_at(words, has_words, left + channel);
    for (int step = 0; step < p.x.steps; ++step) {
      const int first = left + step * kSweepLength;
      float samples[kSweepLength];
      upsampling.advance(*this, in, samples);
      in += kNew * kSweepChannels;
      if constexpr (MODE == SG3_APPLY_MASK) {
        const uint32_t bits = transposed_bits(lane, next_word);
        next_word = word_at(words, has_words, first + kSweepLength + channel);
        SG3_UNROLL for (int j = 0; j < kSweepLength; ++j) {
          if (bits >> j & 1) samples[j] *= p.slope;
          if (bits >> j & 0x10000) samples[j] = 0;
        }
      } else {
        uint32_t negative = 0, below_clamp = 0;  // bits by sample
        SG3_UNROLL for (int j = kSweepLength - 1; j >= 0; --j) {
          const float z = samples[j], active = larger(z, z * p.slope);  // slope <= 1
          if constexpr (MODE == SG3_ACTIVATE_AND_MASK) {
            negative = with_sign(negative, z);
            below_clamp = with_sign(below_clamp, fabsf(active) - p.clamp);
          }
          samples[j] = smaller(larger(active, -p.clamp), p.clamp);
        }
        if constexpr (MODE == SG3_ACTIVATE_AND_MASK) {
          const uint32_t word = transposed_bits(lane, (negative & 0xffff) | ~below_clamp << 16);
          const int column = first + channel;
          if (has_words && column >= 0 && column < word_end) words[column] = word;
        }
      }
      if (!inside || first < 0 || first + kSweepLength > p.x.up_size) {
        SG3_UNROLL for (int j = 0; j < kSweepLength; ++j) {
          if (!inside || unsigned(first + j) >= unsigned(p.x.up_size)) samples[j] = 0;
        }
      }
      downsampling.advance(*this, samples, out);
      SG3_UNROLL for (int term = 0; term < DOWN_TERMS; ++term) out[term] += kOut * kSweepChannels;
    }
  }

  SG3_HD uint32_t word_at(const uint32_t* words, bool exist, int column) const {
    return exist && unsigned(column) < unsigned(p.x.up_size) ? words[column] : 0;
  }

  struct Upsampling {
    float inputs[kInputs];

    SG3_HD explicit Upsampling(const float* in) {
      SG3_UNROLL for (int i = 0; i < kHeld; ++i) inputs[i + kNew] = in[i * kSweepChannels];
    }

    // Computes 16 samples: the sum of the terms.
    SG3_HD void advance(const SweepBlock& b, const float* in, float (&samples)[kSweepLength]) {
      SG3_UNROLL for (int j = 0; j < kSweepLength; ++j) samples[j] = 0;
      SG3_UNROLL for (int term = 0; term < UP_TERMS; ++term) {
        const float* line = in + shape().rows_at(term);
        SG3_UNROLL for (int i = 0; i < kInputs; ++i) {
          const bool held = UP_TERMS == 1 && i < kHeld;  // several terms' inputs would need too many registers
          inputs[i] = held ? inputs[i + kNew] : line[i * kSweepChannels];
        }
        SG3_UNROLL for (int j = 0; j < kSweepLength; ++j) {
          SG3_UNROLL for (int k = 0; k < kSweepTapsPerFactor; ++k) {
            samples[j] += inputs[shape().input_of(j) + k] * b.taps.up_x[term][shape().tap_of(j) + k * UP];
          }
        }
      }
    }
  };

  struct Downsampling {
    // With one term: the sums of incomplete outputs. With several: the samples that these outputs have read.
    float carried[DOWN_TERMS == 1 ? kSweepCarried : kHistory] = {};

    // Writes kOut outputs of each term; the first kSweepCarried of a row lie before the block's.
    SG3_HD void advance(const SweepBlock& b, const float (&samples)[kSweepLength], float* const (&out)[DOWN_TERMS]) {
      if constexpr (DOWN_TERMS == 1) {
        float sums[kOut + kSweepCarried] = {};
        SG3_UNROLL for (int i = 0; i < kSweepCarried; ++i) sums[i] = carried[i];
        SG3_UNROLL for (int j = 0; j < kSweepLength; ++j) {
          SG3_UNROLL for (int m = 0; m <= kSweepCarried; ++m) {
            sums[j / DOWN + m] += samples[j] * b.taps.down_x[0][(kSweepCarried - m) * DOWN + j % DOWN];
          }
        }
        SG3_UNROLL for (int i = 0; i < kOut; ++i) out[0][i * kSweepChannels] = sums[i];
        SG3_UNROLL for (int i = 0; i < kSweepCarried; ++i) carried[i] = sums[kOut + i];
      } else {
        float read[kHistory + kSweepLength];
        SG3_UNROLL for (int i = 0; i < kHistory; ++i) read[i] = carried[i];
        SG3_UNROLL for (int j = 0; j < kSweepLength; ++j) read[kHistory + j] = samples[j];
        SG3_UNROLL for (int i = 0; i < kOut; ++i) {
          float pairs[kDownTaps / 2];  // samples that meet the same tap
          SG3_UNROLL for (int k = 0; k < kDownTaps / 2; ++k) {
            pairs[k] = read[i * DOWN + k] + read[i * DOWN + kDownTaps - 1 - k];
          }
          SG3_UNROLL for (int term = 0; term < DOWN_TERMS; ++term) {
            float sum = 0;
            SG3_UNROLL for (int k = 0; k < kDownTaps / 2; ++k) sum += pairs[k] * b.taps.down_x[term][k];
            out[term][i * kSweepChannels] = sum;
          }
        }
        SG3_UNROLL for (int i = 0; i < kHistory; ++i) carried[i] = read[kSweepLength + i];
      }
    }
  };
};

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_SWEEP_BLOCK_H_
