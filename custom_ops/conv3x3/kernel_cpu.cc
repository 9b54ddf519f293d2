// Convolutions with 3x3 kernels by Winograd's algorithm F(2x2, 3x3) (arXiv 1509.09308), compiled once per instruction
// set (SG3_ISA). No standard headers: see cpu/simd.h.
//
// A tile of 4x4 input pixels d and a kernel g yield 2x2 outputs A' [(G g G') * (B' d B)] A, where * multiplies
// elementwise: 16 multiplications instead of 36. Over many tiles and channels, it becomes sixteen matrix products, one
// for each position.

#include "custom_ops/conv3x3/job.h"
#include "custom_ops/resampling/cpu/simd.h"

namespace sg3::SG3_ISA {
namespace {

// Rows and vectors that the matrix product keeps in registers.
#if defined(__AVX512F__)
constexpr int kRows = 8, kVectors = 3;
#elif defined(__AVX2__)
constexpr int kRows = 4, kVectors = 1;
#else
constexpr int kRows = 2, kVectors = 1;
#endif

SG3_INLINE int64_t rounded_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// sums[r][v] = the sum over c < channels of rows[r * row_pitch + c] * kernel[c * width + v * 16 ...], written to
// to[r * width ...].
template <int vectors>
SG3_INLINE void multiply(const float* rows, int64_t row_pitch, const float* kernel, int64_t width, int64_t channels,
                         float* to) {
  FloatLanes sums[kRows][vectors] = {};
  for (int64_t c = 0; c < channels; ++c, kernel += width) {
    FloatLanes taps[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) taps[v] = load<FloatLanes>(kernel + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const FloatLanes value = broadcast<FloatLanes>(rows[r * row_pitch + c]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sums[r][v] += value * taps[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) store(to + r * width + v * kLanes, sums[r][v]);
  }
}

// Whole vectors plus one: rows that lie a power of two apart would share few sets of the cache.
SG3_INLINE int64_t pitch(int64_t channels) { return rounded_up(channels, kLanes) + kLanes; }

struct Place {
  int64_t image, y, x;  // of the first output of a tile
};

SG3_INLINE Place place(const Conv3x3& conv, int64_t index) {
  const int64_t columns = (conv.out_width() + 1) / 2, lines = (conv.out_height() + 1) / 2;
  return {index / columns / lines, index / columns % lines * 2, index % columns * 2};
}

// Computes B' d B of up to sixteen channels, times their factors. Position p goes to to[p * step].
SG3_INLINE void transform_pixels(const float* const (&pixels)[4][4], const float* factors, int64_t c, int64_t count,
                                 float* to, int64_t step) {
  const FloatLanes factor = load_channels(factors + c, count);
  FloatLanes lines[4][4];  // B' d, by column
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    FloatLanes d[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) d[i] = load_channels(pixels[i][j] + c, count) * factor;
    lines[0][j] = d[0] - d[2];
    lines[1][j] = d[1] + d[2];
    lines[2][j] = d[2] - d[1];
    lines[3][j] = d[1] - d[3];
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    store(to + (i * 4 + 0) * step, lines[i][0] - lines[i][2]);
    store(to + (i * 4 + 1) * step, lines[i][1] + lines[i][2]);
    store(to + (i * 4 + 2) * step, lines[i][2] - lines[i][1]);
    store(to + (i * 4 + 3) * step, lines[i][1] - lines[i][3]);
  }
}

// Images, and factors for their channels.
struct ScaledImages {
  const float *pixels, *factors;  // null for no factors
};

// Stand-ins for pixels outside the images, and for missing factors.
struct Defaults {
  const float *zeros, *ones;  // one for each channel that is read
};

SG3_INLINE const float* factors_of(const float* factors, int64_t image, int64_t channels, int64_t first,
                                   const Defaults& defaults) {
  return factors == nullptr ? defaults.ones : factors + image * channels + first;
}

// Computes B' d B of tile `index` for input channels [begin, end). Position p goes to to[p * step].
SG3_INLINE void transform_input(const Conv3x3& conv, const ScaledImages& x, int64_t index, int64_t begin, int64_t end,
                                const Defaults& defaults, float* to, int64_t step) {
  const float* pixels[4][4];
  const Place at = place(conv, index);
  for (int64_t i = 0; i < 4; ++i) {
    const int64_t row = at.y + i - conv.pad;
    for (int64_t j = 0; j < 4; ++j) {
      const int64_t column = at.x + j - conv.pad;
      const bool inside = row >= 0 && row < conv.height && column >= 0 && column < conv.width;
      pixels[i][j] = inside
                         ? x.pixels + ((at.image * conv.height + row) * conv.width + column) * conv.in_channels + begin
                         : defaults.zeros;
    }
  }
  const float* factors = factors_of(x.factors, at.image, conv.in_channels, begin, defaults);
  const int64_t channels = end - begin;
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) transform_pixels(pixels, factors, c, kLanes, to + c, step);
  if (c < channels) transform_pixels(pixels, factors, c, channels - c, to + c, step);
}

SG3_INLINE void fill(float* to, int64_t count, float value) {
  for (int64_t i = 0; i < count; ++i) to[i] = value;
}

// One block of tiles.
class Block {
 public:
  Block(const WinogradJob& job, const BlockTile& tile, float* scratch)
      : conv_(job.conv), layout_{job.conv.in_channels, job.conv.out_channels}, tile_(tile), arrays_(job.arrays) {
    rows_ = rounded_up(tile.end - tile.begin, kRows);
    const int64_t channels = default_channels(conv_);
    float *zeros = scratch, *ones = zeros + channels;
    fill(zeros, channels, 0);
    fill(ones, channels, 1);
    defaults_ = {zeros, ones};
    inputs_ = ones + channels;
    products_ = inputs_ + kPositions * rows_ * input_pitch();
  }

  static int64_t scratch_size(const WinogradJob& job) {
    const int64_t rows = rounded_up(job.tiling.block, kRows);
    return 2 * default_channels(job.conv) + kPositions * rows * (pitch(job.conv.in_channels) + kPanel);
  }

  void run(const float* transformed) {
    const int64_t count = tile_.end - tile_.begin;
    for (int64_t i = 0; i < count; ++i) {
      transform_input(conv_, {arrays_.x, arrays_.scales.in}, tile_.begin + i, 0, conv_.in_channels, defaults_,
                      inputs_ + i * input_pitch(), rows_ * input_pitch());
    }
    for (int64_t p = 0; p < kPositions; ++p) {
      fill(inputs_ + (p * rows_ + count) * input_pitch(), (rows_ - count) * input_pitch(), 0);
    }
    for (int64_t panel = 0; panel < layout_.panels(); ++panel) {
      const int64_t width = layout_.width(panel);
      for (int64_t p = 0; p < kPositions; ++p) {
        const float* kernel = transformed + layout_.offset(panel) + p * conv_.in_channels * width;
        for (int64_t row = 0; row < rows_; row += kRows) {
          const float* from = inputs_ + (p * rows_ + row) * input_pitch();
          float* to = products_ + (p * rows_ + row) * width;
          multiply_all(from, kernel, width, to);
        }
      }
      for (int64_t i = tile_.begin; i < tile_.end; ++i) transform_output(i, panel);
    }
  }

 private:
  static int64_t default_channels(const Conv3x3& conv) {
    return rounded_up(conv.in_channels > kPanel ? conv.in_channels : kPanel, kLanes);
  }
  int64_t input_pitch() const { return pitch(conv_.in_channels); }

  SG3_INLINE void multiply_all(const float* from, const float* kernel, int64_t width, float* to) const {
    if (kVectors == 3 && width == 3 * kLanes) {
      multiply<kVectors>(from, input_pitch(), kernel, width, conv_.in_channels, to);
    } else if (kVectors == 3 && width == 2 * kLanes) {
      multiply<kVectors == 3 ? 2 : 1>(from, input_pitch(), kernel, width, conv_.in_channels, to);
    } else {
      for (int64_t column = 0; column < width; column += kLanes) {
        multiply<1>(from, input_pitch(), kernel + column, width, conv_.in_channels, to + column);
      }
    }
  }

  // Writes A' m A of tile `index` for the channels of a panel.
  SG3_INLINE void transform_output(int64_t index, int64_t panel) const {
    const Place at = place(conv_, index);
    const int64_t width = layout_.width(panel), first = panel * kPanel;
    const bool below = at.y + 1 < conv_.out_height(), right = at.x + 1 < conv_.out_width();
    const float* factors = factors_of(arrays_.scales.out, at.image, conv_.out_channels, first, defaults_);
    float* to =
        arrays_.y + ((at.image * conv_.out_height() + at.y) * conv_.out_width() + at.x) * conv_.out_channels + first;
    const int64_t line = conv_.out_width() * conv_.out_channels;
    for (int64_t c = 0; c < width && first + c < conv_.out_channels; c += kLanes) {
      const float* from = products_ + (index - tile_.begin) * width + c;
      FloatLanes upper[4], lower[4];  // A' m, by column
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        FloatLanes m[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) m[i] = load<FloatLanes>(from + (i * 4 + j) * rows_ * width);
        upper[j] = m[0] + m[1] + m[2];
        lower[j] = m[1] - m[2] - m[3];
      }
      const int64_t left = conv_.out_channels - first - c, count = left < kLanes ? left : kLanes;
      const FloatLanes factor = load_channels(factors + c, count);
      store_channels(to + c, (upper[0] + upper[1] + upper[2]) * factor, count);
      if (right) store_channels(to + conv_.out_channels + c, (upper[1] - upper[2] - upper[3]) * factor, count);
      if (below) store_channels(to + line + c, (lower[0] + lower[1] + lower[2]) * factor, count);
      if (below && right) {
        store_channels(to + line + conv_.out_channels + c, (lower[1] - lower[2] - lower[3]) * factor, count);
      }
    }
  }

  const Conv3x3 conv_;
  const KernelLayout layout_;
  const BlockTile tile_;
  const Conv3x3Arrays arrays_;
  Defaults defaults_;
  int64_t rows_;     // tiles, rounded up to whole groups of kRows
  float* inputs_;    // [16][rows_][pitch]
  float* products_;  // [16][rows_][width of a panel]
};

// sums[c][...] += the sum over t < tiles of inputs[t][c] * outputs[t][...], for kRows input channels.
template <int vectors>
SG3_INLINE void accumulate_products(const float* inputs, int64_t input_pitch, const float* outputs, int64_t width,
                                    int64_t tiles, float* sums) {
  FloatLanes parts[kRows][vectors] = {};
  for (int64_t t = 0; t < tiles; ++t, inputs += input_pitch, outputs += width) {
    FloatLanes values[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) values[v] = load<FloatLanes>(outputs + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const FloatLanes input = broadcast<FloatLanes>(inputs[r]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) parts[r][v] += input * values[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      float* sum = sums + r * width + v * kLanes;
      store(sum, load<FloatLanes>(sum) + parts[r][v]);
    }
  }
}

// One unit's gradient with respect to the transformed kernels: for every position, the matrix product of the
// transformed input and A dy A'.
class GradientUnit {
 public:
  GradientUnit(const KernelGradientJob& job, const KernelGradientUnit& unit, float* scratch)
      : conv_(job.conv), unit_(unit), x_{job.x, job.scales.in}, dy_{job.dy, job.scales.out} {
    const KernelLayout& layout = job.tiling.layout;
    width_ = layout.width(unit.panel);
    step_ = layout.in_channels * width_;
    sums_ = job.sums + unit.slice * layout.size() + layout.offset(unit.panel) + unit.in_begin * width_;
    float *zeros = scratch, *ones = zeros + kInputs;
    fill(zeros, kInputs, 0);
    fill(ones, kInputs, 1);
    defaults_ = {zeros, ones};
    inputs_ = ones + kInputs;
    outputs_ = inputs_ + kPositions * kTiles * kPitch;
    own_ = outputs_ + kPositions * kTiles * kPanel;
    fill(inputs_, kPositions * kTiles * kPitch, 0);
    fill(own_, kPositions * kInputs * kPanel, 0);
  }

  static int64_t scratch_size() { return 2 * kInputs + kPositions * (kTiles * (kPitch + kPanel) + kInputs * kPanel); }

  // Tiles [begin, end) of the batch.
  void run(int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += kTiles) {
      const int64_t count = end - first < kTiles ? end - first : kTiles;
      for (int64_t t = 0; t < count; ++t) {
        transform_input(conv_, x_, first + t, unit_.in_begin, unit_.in_end, defaults_, inputs_ + t * kPitch,
                        kTiles * kPitch);
        transform_gradient(first + t, outputs_ + t * width_);
      }
      for (int64_t p = 0; p < kPositions; ++p) {
        for (int64_t c = 0; c < unit_.in_end - unit_.in_begin; c += kRows) {
          add_products(inputs_ + p * kTiles * kPitch + c, outputs_ + p * kTiles * width_, count,
                       own_ + (p * kInputs + c) * width_);
        }
      }
    }
    for (int64_t p = 0; p < kPositions; ++p) {
      const int64_t size = (unit_.in_end - unit_.in_begin) * width_;
      for (int64_t i = 0; i < size; ++i) sums_[p * step_ + i] = own_[p * kInputs * width_ + i];
    }
  }

 private:
  static constexpr int64_t kInputs = KernelGradientTiling::kInputs, kTiles = 48, kPitch = kInputs + kLanes;

  SG3_INLINE void add_products(const float* inputs, const float* outputs, int64_t tiles, float* sums) const {
    if (kVectors == 3 && width_ == 3 * kLanes) {
      accumulate_products<kVectors>(inputs, kPitch, outputs, width_, tiles, sums);
    } else if (kVectors == 3 && width_ == 2 * kLanes) {
      accumulate_products<kVectors == 3 ? 2 : 1>(inputs, kPitch, outputs, width_, tiles, sums);
    } else {
      for (int64_t column = 0; column < width_; column += kLanes) {
        accumulate_products<1>(inputs, kPitch, outputs + column, width_, tiles, sums + column);
      }
    }
  }

  // Computes A dy A' of a tile for the channels of the panel; outputs outside the image are zero.
  SG3_INLINE void transform_gradient(int64_t index, float* to) const {
    const Place at = place(conv_, index);
    const bool below = at.y + 1 < conv_.out_height(), right = at.x + 1 < conv_.out_width();
    const int64_t first = unit_.panel * kPanel, line = conv_.out_width() * conv_.out_channels;
    const float* from =
        dy_.pixels + ((at.image * conv_.out_height() + at.y) * conv_.out_width() + at.x) * conv_.out_channels + first;
    const float* factors = factors_of(dy_.factors, at.image, conv_.out_channels, first, defaults_);
    const int64_t step = kTiles * width_;
    for (int64_t c = 0; c < width_; c += kLanes) {
      const int64_t left = conv_.out_channels - first - c, count = left < kLanes ? left : kLanes;
      const FloatLanes zero = broadcast<FloatLanes>(0.0f), factor = load_channels(factors + c, count);
      FloatLanes d[2][2];
      d[0][0] = load_channels(from + c, count) * factor;
      d[0][1] = right ? load_channels(from + conv_.out_channels + c, count) * factor : zero;
      d[1][0] = below ? load_channels(from + line + c, count) * factor : zero;
      d[1][1] = below && right ? load_channels(from + line + conv_.out_channels + c, count) * factor : zero;
      FloatLanes lines[4][2];  // A dy, by column
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        lines[0][j] = d[0][j];
        lines[1][j] = d[0][j] + d[1][j];
        lines[2][j] = d[0][j] - d[1][j];
        lines[3][j] = zero - d[1][j];
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        store(to + (i * 4 + 0) * step + c, lines[i][0]);
        store(to + (i * 4 + 1) * step + c, lines[i][0] + lines[i][1]);
        store(to + (i * 4 + 2) * step + c, lines[i][0] - lines[i][1]);
        store(to + (i * 4 + 3) * step + c, zero - lines[i][1]);
      }
    }
  }

  const Conv3x3 conv_;
  const KernelGradientUnit unit_;
  const ScaledImages x_, dy_;
  Defaults defaults_;
  int64_t width_;   // of the panel
  int64_t step_;    // from one position of sums_ to the next
  float* sums_;     // of the unit
  float* inputs_;   // [16][kTiles][kPitch]
  float* outputs_;  // [16][kTiles][width_]
  float* own_;      // the unit's sums, in whole groups of rows: [16][kInputs][width_]
};

}  // namespace

// Computes G g G' of input channels [first, last); output channels beyond the last are zero.
void transform_kernel(const KernelTransformJob& job, int64_t first, int64_t last) {
  const KernelLayout& layout = job.layout;
  const FloatLanes half = broadcast<FloatLanes>(0.5f);
  for (int64_t in = first; in < last; ++in) {
    for (int64_t panel = 0; panel < layout.panels(); ++panel) {
      const int64_t width = layout.width(panel);
      for (int64_t c = 0; c < width; c += kLanes) {
        const int64_t out = panel * kPanel + c, left = layout.out_channels - out;
        const int64_t count = left < kLanes ? left : kLanes;
        FloatLanes lines[4][3];  // G g, by column
#pragma GCC unroll 3
        for (int j = 0; j < 3; ++j) {
          FloatLanes g[3];
#pragma GCC unroll 3
          for (int i = 0; i < 3; ++i) {
            g[i] =
                load_channels(job.kernel + ((i * 3 + j) * layout.in_channels + in) * layout.out_channels + out, count);
          }
          lines[0][j] = g[0];
          lines[1][j] = (g[0] + g[1] + g[2]) * half;
          lines[2][j] = (g[0] - g[1] + g[2]) * half;
          lines[3][j] = g[2];
        }
        float* to = job.transformed + layout.offset(panel) + in * width + c;
        const int64_t step = layout.in_channels * width;
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const FloatLanes* g = lines[i];
          store(to + (i * 4 + 0) * step, g[0]);
          store(to + (i * 4 + 1) * step, (g[0] + g[1] + g[2]) * half);
          store(to + (i * 4 + 2) * step, (g[0] - g[1] + g[2]) * half);
          store(to + (i * 4 + 3) * step, g[2]);
        }
      }
    }
  }
}

int64_t scratch_size(const KernelGradientJob&) { return GradientUnit::scratch_size(); }

void run_units(const KernelGradientJob& job, int64_t first, int64_t last, float* scratch) {
  const Conv3x3& conv = job.conv;
  const int64_t count = conv.batch * ((conv.out_height() + 1) / 2) * ((conv.out_width() + 1) / 2);
  for (int64_t i = first; i < last; ++i) {
    const KernelGradientUnit unit = job.tiling.tile(i);
    const int64_t begin = unit.slice * job.tiling.slice_tiles, end = begin + job.tiling.slice_tiles;
    GradientUnit(job, unit, scratch).run(begin, end < count ? end : count);
  }
}

// Computes G' u G of input channels [first, last), where u is the sum of the slices.
void sum_slices(const KernelGradientSumJob& job, int64_t first, int64_t last) {
  const KernelLayout& layout = job.tiling.layout;
  const FloatLanes half = broadcast<FloatLanes>(0.5f);
  for (int64_t in = first; in < last; ++in) {
    for (int64_t panel = 0; panel < layout.panels(); ++panel) {
      const int64_t width = layout.width(panel);
      for (int64_t c = 0; c < width; c += kLanes) {
        const float* from = job.sums + layout.offset(panel) + in * width + c;
        FloatLanes lines[3][4];  // G' u, by column
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          FloatLanes u[4];
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) {
            const float* slice = from + (i * 4 + j) * layout.in_channels * width;
            u[i] = load<FloatLanes>(slice);
            for (int64_t s = 1; s < job.tiling.slices; ++s) u[i] += load<FloatLanes>(slice + s * layout.size());
          }
          const FloatLanes sum = (u[1] + u[2]) * half;
          lines[0][j] = u[0] + sum;
          lines[1][j] = (u[1] - u[2]) * half;
          lines[2][j] = sum + u[3];
        }
        const int64_t out = panel * kPanel + c, left = layout.out_channels - out;
#pragma GCC unroll 3
        for (int i = 0; i < 3; ++i) {
          const FloatLanes* u = lines[i];
          const FloatLanes sum = (u[1] + u[2]) * half;
          float* to = job.gradient + (i * 3 * layout.in_channels + in) * layout.out_channels + out;
          const int64_t step = layout.in_channels * layout.out_channels, count = left < kLanes ? left : kLanes;
          store_channels(to, u[0] + sum, count);
          store_channels(to + step, (u[1] - u[2]) * half, count);
          store_channels(to + 2 * step, sum + u[3], count);
        }
      }
    }
  }
}

int64_t scratch_size(const WinogradJob& job) { return Block::scratch_size(job); }

void run_blocks(const WinogradJob& job, int64_t first, int64_t last, float* scratch) {
  for (int64_t i = first; i < last; ++i) Block(job, job.tiling.tile(i), scratch).run(job.transformed);
}

}  // namespace sg3::SG3_ISA
