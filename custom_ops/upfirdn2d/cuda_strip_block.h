// upfirdn2d of images with many channels with a short separable filter. A thread computes a strip: 4 channels of a few
// neighboring columns of outputs, from top to bottom. It reads every input of the strip once, filters each row in
// registers, and adds it to the rows of outputs that it contributes to. Threads share nothing but the cache.

#ifndef SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_STRIP_BLOCK_H_
#define SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_STRIP_BLOCK_H_

#include "custom_ops/resampling/cuda/mma.h"
#include "custom_ops/resampling/cuda/tile.h"
#include "custom_ops/upfirdn2d/cuda_polyphase.h"

namespace sg3::cuda {

constexpr int kStripThreads = 256;  // per block, at most
constexpr int kStripChannels = 4;   // per thread

// The parameters of a kernel, except tensors and taps.
struct StripPlan {
  PolyphaseAxis y, x;
  int64_t batch;
  int channels;
  int vectors_log2;  // of channels, per block; neighboring threads take neighboring vectors
  int threads;
  int chunks;        // of channels
  int tiles;         // of columns
  int strips;        // along y
  int strip_groups;  // of each
};

// Factors and reach along both axes, compiled in.
template <int UP, int DOWN, int REACH>
struct StripShape {
  static constexpr int kUp = UP, kDown = DOWN, kReach = REACH;
  static constexpr int kGroups = UP == 2 || REACH > 4 ? 1 : DOWN == 2 ? 2 : 4;  // of columns: registers are the limit
  static constexpr int kColumns = kGroups * UP;
  static constexpr int kInputs = (kGroups - 1) * DOWN + REACH;
  static constexpr int kSums = REACH / DOWN;  // groups of rows that an input row contributes to
  static_assert(REACH % DOWN == 0, "");
};

template <class Shape>
struct StripTaps {
  float y[Shape::kUp][Shape::kReach], x[Shape::kUp][Shape::kReach];
};

SG3_HD int64_t num_blocks(const StripPlan& p) { return p.batch * p.strips * p.tiles * p.chunks; }

// Four elements of an image, in as few registers as they need.
template <class T>
struct alignas(4 * sizeof(T)) FourElements {
  uint32_t words[sizeof(T)];

  // Reads the elements, or sets them to zero.
  SG3_HD void load_if(bool exists, const void* address) {
#ifdef __CUDA_ARCH__
    // A branch would cost more: the compiler joins its two ends with moves.
    if constexpr (sizeof(T) == 4) {
      asm("{ .reg .pred p; setp.ne.u32 p, %5, 0; mov.b32 %0, 0; mov.b32 %1, 0; mov.b32 %2, 0; mov.b32 %3, 0;"
          " @p ld.global.nc.v4.b32 {%0, %1, %2, %3}, [%4]; }"
          : "=&r"(words[0]), "=&r"(words[1]), "=&r"(words[2]), "=&r"(words[3])
          : "l"(address), "r"(uint32_t(exists)));
    } else {
      asm("{ .reg .pred p; setp.ne.u32 p, %3, 0; mov.b32 %0, 0; mov.b32 %1, 0; @p ld.global.nc.v2.b32 {%0, %1}, [%2]; }"
          : "=&r"(words[0]), "=&r"(words[1])
          : "l"(address), "r"(uint32_t(exists)));
    }
#else
    *this = FourElements{};
    if (exists) memcpy(this, address, sizeof *this);
#endif
  }

  SG3_HD void get(float* values) const {
    if constexpr (sizeof(T) == 4) {
      SG3_UNROLL for (int i = 0; i < 4; ++i) values[i] = bits_to_float(words[i]);
    } else {
      SG3_UNROLL for (int i = 0; i < 4; ++i) values[i] = to_float(T{uint16_t(words[i / 2] >> i % 2 * 16)});
    }
  }

  SG3_HD void put(const float* values) {
    if constexpr (sizeof(T) == 4) {
      SG3_UNROLL for (int i = 0; i < 4; ++i) words[i] = float_to_bits(values[i]);
    } else {
      SG3_UNROLL for (int i = 0; i < 2; ++i) words[i] = pack<T>(values[2 * i], values[2 * i + 1]);
    }
  }
};

template <class T, class Shape>
struct StripBlock {
  static constexpr int kUp = Shape::kUp, kDown = Shape::kDown, kReach = Shape::kReach, kSums = Shape::kSums;
  static constexpr int kGroups = Shape::kGroups, kColumns = Shape::kColumns, kInputs = Shape::kInputs;
  using Elements = FourElements<T>;

  const StripPlan& p;
  const StripTaps<Shape>& taps;
  const char* x;
  char* y;
  unsigned block;

  // 4 channels of a row of outputs.
  struct Row {
    float at[kColumns][kStripChannels];
  };

  SG3_HD void run(Worker w) const {
    unsigned rest = block;
    const auto split = [&rest](int count) {
      const unsigned index = rest % unsigned(count);
      rest /= unsigned(count);
      return int(index);
    };
    const int chunk = split(p.chunks), tile = split(p.tiles), strip = split(p.strips);
    const int64_t image = rest;

    const int vectors = 1 << p.vectors_log2;
    const int channel = (chunk * vectors + (w.index & (vectors - 1))) * kStripChannels;
    const int group_x = (tile * (w.count >> p.vectors_log2) + (w.index >> p.vectors_log2)) * kGroups;
    const int group_y = strip * p.strip_groups;
    if (channel >= p.channels || group_x >= p.x.groups) return;
    const int left = p.y.groups - group_y;
    slide(image, group_y, left < p.strip_groups ? left : p.strip_groups, group_x, channel);
  }

  // Computes `count` groups of rows from group_y on.
  SG3_HD void slide(int64_t image, int group_y, int count, int group_x, int channel) const {
    const int column = group_x * kDown + p.x.first, out_column = group_x * kUp;
    uint32_t inside = 0;  // a bit for each column of inputs
    SG3_UNROLL for (int j = 0; j < kInputs; ++j) inside |= uint32_t(unsigned(column + j) < unsigned(p.x.in_size)) << j;

    int row = group_y * kDown + p.y.first, out_row = group_y * kUp;
    const int last = row + (count + kSums - 1) * kDown, end = last < p.y.in_size ? last : p.y.in_size;
    // Sizes and offsets in bytes.
    const int64_t pixel = p.channels * int64_t(sizeof(T)), in_pitch = p.x.in_size * pixel,
                  out_pitch = p.x.out_size * pixel;
    int64_t from = (image * p.y.in_size + row) * in_pitch + column * pixel + channel * int(sizeof(T));
    int64_t to = (image * p.y.out_size + out_row) * out_pitch + out_column * pixel + channel * int(sizeof(T));

    Elements inputs[kInputs];
    const auto load = [&] {
      const uint32_t mask = row >= 0 && row < end ? inside : 0;
      SG3_UNROLL for (int j = 0; j < kInputs; ++j) inputs[j].load_if(mask >> j & 1, at(x, from, j));
      ++row;
      from += in_pitch;
    };
    Row sums[kSums][kUp] = {};
    load();
    for (int step = 1 - kSums; step < count; ++step) {
      SG3_UNROLL for (int d = 0; d < kDown; ++d) {
        const Row filtered = filter(inputs);
        load();  // the next row, while this one is used
        add(filtered, d, sums);
      }
      if (step < 0) continue;
      SG3_UNROLL for (int q = 0; q < kUp; ++q) {
        if (out_row < p.y.out_size) store_row(sums[0][q], to, p.x.out_size - out_column);
        ++out_row;
        to += out_pitch;
      }
    }
  }

  // The address of the pixel that lies `columns` to the right of the byte `offset`.
  template <class Byte>
  SG3_HD Byte* at(Byte* tensor, int64_t offset, int columns) const {
    return tensor + (offset + int64_t(uint32_t(p.channels * int(sizeof(T)))) * columns);
  }

  // Writes the columns of a row that exist.
  SG3_HD void store_row(const Row& row, int64_t to, int columns) const {
    Elements elements[kColumns];
    SG3_UNROLL for (int i = 0; i < kColumns; ++i) elements[i].put(row.at[i]);
    SG3_UNROLL for (int i = 0; i < kColumns; ++i) {
      if (i < columns) *reinterpret_cast<Elements*>(at(y, to, i)) = elements[i];
    }
  }

  SG3_HD Row filter(const Elements* inputs) const {
    Row row = {};
    float values[kInputs][kStripChannels];
    SG3_UNROLL for (int j = 0; j < kInputs; ++j) inputs[j].get(values[j]);
    SG3_UNROLL for (int g = 0; g < kGroups; ++g) {
      SG3_UNROLL for (int j = 0; j < kReach; ++j) {
        SG3_UNROLL for (int q = 0; q < kUp; ++q) {
          SG3_UNROLL for (int c = 0; c < kStripChannels; ++c) {
            row.at[g * kUp + q][c] += taps.x[q][j] * values[g * kDown + j][c];
          }
        }
      }
    }
    return row;
  }

  // Adds row d of kDown to the sums. Row 0 also shifts the sums, because sums[0] was complete.
  SG3_HD void add(const Row& row, int d, Row (&sums)[kSums][kUp]) const {
    SG3_UNROLL for (int s = 0; s < kSums; ++s) {
      SG3_UNROLL for (int q = 0; q < kUp; ++q) {
        const float tap = taps.y[q][(kSums - 1 - s) * kDown + d];
        SG3_UNROLL for (int i = 0; i < kColumns; ++i) {
          SG3_UNROLL for (int c = 0; c < kStripChannels; ++c) {
            const float before = d > 0 ? sums[s][q].at[i][c] : s + 1 < kSums ? sums[s + 1][q].at[i][c] : 0.f;
            sums[s][q].at[i][c] = before + tap * row.at[i][c];
          }
        }
      }
    }
  }
};

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_UPFIRDN2D_CUDA_STRIP_BLOCK_H_
