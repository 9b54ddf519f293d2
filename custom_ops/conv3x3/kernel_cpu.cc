// Convolutions with 3x3 kernels by Winograd's algorithm F(2x2, 3x3) (arXiv 1509.09308), compiled once per instruction
// set (SG3_ISA). No standard headers: see cpu/simd.h.
//
// A tile of 4x4 input pixels d and a kernel g make 2x2 outputs A' [(G g G') * (B' d B)] A, where * multiplies the
// sixteen positions, with 16 multiplications instead of 36. For many tiles and channels the product is sixteen matrix
// products.

#include "custom_ops/resampling/cpu/simd.h"
#include "custom_ops/conv3x3/job.h"

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

// One block of tiles.
class Block {
 public:
  Block(const WinogradJob& job, const BlockTile& tile, float* scratch)
      : conv_(job.conv), layout_{job.conv.in_channels, job.conv.out_channels}, tile_(tile), x_(job.x), y_(job.y) {
    rows_ = rounded_up(tile.end - tile.begin, kRows);
    zeros_ = scratch;
    inputs_ = zeros_ + rounded_up(conv_.in_channels, kLanes);
    products_ = inputs_ + kPositions * rows_ * input_pitch();
    for (int64_t c = 0; c < conv_.in_channels; ++c) zeros_[c] = 0;
  }

  static int64_t scratch_size(const WinogradJob& job) {
    const int64_t rows = rounded_up(job.tiling.block, kRows);
    return rounded_up(job.conv.in_channels, kLanes) + kPositions * rows * (pitch(job.conv.in_channels) + kPanel);
  }

  void run(const float* transformed) {
    for (int64_t i = 0; i < rows_; ++i) transform_input(i);
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
  // Whole vectors and one more: rows that lie a power of two apart would share few places of the cache.
  static int64_t pitch(int64_t channels) { return rounded_up(channels, kLanes) + kLanes; }
  int64_t input_pitch() const { return pitch(conv_.in_channels); }

  SG3_INLINE void multiply_all(const float* from, const float* kernel, int64_t width, float* to) const {
    int64_t column = 0;
    if (kVectors == 3 && width == 3 * kLanes) {
      multiply<kVectors>(from, input_pitch(), kernel, width, conv_.in_channels, to);
      return;
    }
    if (kVectors == 3 && width == 2 * kLanes) {
      multiply<kVectors == 3 ? 2 : 1>(from, input_pitch(), kernel, width, conv_.in_channels, to);
      return;
    }
    for (; column < width; column += kLanes) {
      multiply<1>(from, input_pitch(), kernel + column, width, conv_.in_channels, to + column);
    }
  }

  struct Place {
    int64_t image, y, x;  // of the first output
  };

  SG3_INLINE Place place(int64_t index) const {
    const int64_t columns = (conv_.out_width() + 1) / 2, lines = (conv_.out_height() + 1) / 2;
    return {index / columns / lines, index / columns % lines * 2, index % columns * 2};
  }

  // B' d B of row `row` of the block; rows beyond its end are zero.
  SG3_INLINE void transform_input(int64_t row) {
    const float* pixels[4][4];
    const int64_t index = tile_.begin + row;
    const Place at = place(index < tile_.end ? index : tile_.begin);
    for (int64_t i = 0; i < 4; ++i) {
      const int64_t y = at.y + i - conv_.pad;
      for (int64_t j = 0; j < 4; ++j) {
        const int64_t x = at.x + j - conv_.pad;
        const bool inside = index < tile_.end && y >= 0 && y < conv_.height && x >= 0 && x < conv_.width;
        pixels[i][j] =
            inside ? x_ + ((at.image * conv_.height + y) * conv_.width + x) * conv_.in_channels : zeros_;
      }
    }
    const int64_t channels = conv_.in_channels;
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) transform_input(pixels, row, c, kLanes);
    if (c < channels) transform_input(pixels, row, c, channels - c);
  }

  SG3_INLINE void transform_input(const float* const (&pixels)[4][4], int64_t row, int64_t c, int64_t count) {
    FloatLanes lines[4][4];  // B' d, by column
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      FloatLanes d[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) d[i] = load_channels(pixels[i][j] + c, count);
      lines[0][j] = d[0] - d[2];
      lines[1][j] = d[1] + d[2];
      lines[2][j] = d[2] - d[1];
      lines[3][j] = d[1] - d[3];
    }
    float* to = inputs_ + row * input_pitch() + c;
    const int64_t step = rows_ * input_pitch();
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      store(to + (i * 4 + 0) * step, lines[i][0] - lines[i][2]);
      store(to + (i * 4 + 1) * step, lines[i][1] + lines[i][2]);
      store(to + (i * 4 + 2) * step, lines[i][2] - lines[i][1]);
      store(to + (i * 4 + 3) * step, lines[i][1] - lines[i][3]);
    }
  }

  // A' m A of the tile `index`, for the channels of a panel.
  SG3_INLINE void transform_output(int64_t index, int64_t panel) const {
    const Place at = place(index);
    const int64_t width = layout_.width(panel), first = panel * kPanel;
    const bool below = at.y + 1 < conv_.out_height(), right = at.x + 1 < conv_.out_width();
    float* to = y_ + ((at.image * conv_.out_height() + at.y) * conv_.out_width() + at.x) * conv_.out_channels + first;
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
      store_channels(to + c, upper[0] + upper[1] + upper[2], count);
      if (right) store_channels(to + conv_.out_channels + c, upper[1] - upper[2] - upper[3], count);
      if (below) store_channels(to + line + c, lower[0] + lower[1] + lower[2], count);
      if (below && right) {
        store_channels(to + line + conv_.out_channels + c, lower[1] - lower[2] - lower[3], count);
      }
    }
  }

  const Conv3x3 conv_;
  const KernelLayout layout_;
  const BlockTile tile_;
  const float* x_;
  float* y_;
  int64_t rows_;     // of tiles, in whole groups of kRows
  float *zeros_;     // a pixel outside the image
  float *inputs_;    // [16][rows_][pitch]
  float *products_;  // [16][rows_][width of a panel]
};

}  // namespace

// G g G' of input channels [first, last); output channels beyond the last are zero.
void transform_kernel(const KernelTransformJob& job, int64_t first, int64_t last) {
  const KernelLayout& layout = job.layout;
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
            g[i] = load_channels(job.kernel + ((i * 3 + j) * layout.in_channels + in) * layout.out_channels + out,
                                 count);
          }
          lines[0][j] = g[0];
          lines[1][j] = (g[0] + g[1] + g[2]) * 0.5f;
          lines[2][j] = (g[0] - g[1] + g[2]) * 0.5f;
          lines[3][j] = g[2];
        }
        float* to = job.transformed + layout.offset(panel) + in * width + c;
        const int64_t step = layout.in_channels * width;
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const FloatLanes* g = lines[i];
          store(to + (i * 4 + 0) * step, g[0]);
          store(to + (i * 4 + 1) * step, (g[0] + g[1] + g[2]) * 0.5f);
          store(to + (i * 4 + 2) * step, (g[0] - g[1] + g[2]) * 0.5f);
          store(to + (i * 4 + 3) * step, g[2]);
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
