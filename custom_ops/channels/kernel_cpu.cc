// The CPU kernels of the channel operations, compiled once per instruction set (SG3_ISA). No standard headers: see
// cpu/simd.h.

#include "custom_ops/channels/job.h"
#include "custom_ops/resampling/cpu/kernel.h"

namespace sg3::SG3_ISA {
namespace {

template <class T>
struct ScaleKernel {
  using Scalar = typename Arithmetic<T>::Scalar;
  using Job = ScaleChannelsJob<Scalar>;

  static int64_t scratch_size(const Job&) { return 0; }

  static void run(const Job& job, const RowTile& tile, void*) {
    const ImageBatch& images = job.tiling.images;
    const int64_t channels = images.channels, row_size = images.width * channels;
    const T* from = static_cast<const T*>(job.x) + tile.begin * row_size;
    T* to = static_cast<T*>(job.y) + tile.begin * row_size;
    for (int64_t row = tile.begin; row < tile.end; ++row) {
      const Scalar* factors = job.factors + row / images.height * channels;
      for (int64_t column = 0; column < images.width; ++column, from += channels, to += channels) {
        int64_t c = 0;
        for (; c + kLanes <= channels; c += kLanes) scale(from + c, factors + c, kLanes, to + c);
        if (c < channels) scale(from + c, factors + c, channels - c, to + c);
      }
    }
  }

 private:
  static SG3_INLINE void scale(const T* from, const Scalar* factors, int64_t count, T* to) {
    store_channels(to, load_channels(from, count) * load_channels(factors, count), count);
  }
};

template <class T>
struct SumKernel {
  using Scalar = typename Arithmetic<T>::Scalar;
  using Lanes = typename Arithmetic<T>::Lanes;
  using Job = SumPixelsJob<Scalar>;

  static int64_t scratch_size(const Job&) { return 0; }

  static void run(const Job& job, const ChannelTile& tile, void*) {
    const ImageBatch& images = job.tiling.images;
    const int64_t first = tile.image * images.height * images.width * images.channels + tile.begin;
    const T* x = static_cast<const T*>(job.x) + first;
    if (job.y == nullptr) {
      sum(job, tile, [=](int64_t at, int64_t count) { return load_channels(x + at, count); });
    } else {
      const T* y = static_cast<const T*>(job.y) + first;
      sum(job, tile,
          [=](int64_t at, int64_t count) { return load_channels(x + at, count) * load_channels(y + at, count); });
    }
  }

 private:
  static constexpr int kBlocks = ChannelTiling::kChannels / kLanes;

  // Writes the sums of value(offset from the tile's first element, number of channels). Adds up each row in Scalar, and
  // the rows in float64.
  template <class Value>
  static SG3_INLINE void sum(const Job& job, const ChannelTile& tile, const Value& value) {
    const ImageBatch& images = job.tiling.images;
    const int64_t channels = tile.end - tile.begin, row_size = images.width * images.channels;
    double sums[kBlocks * kLanes] = {};
    for (int64_t row = 0; row < images.height; ++row) {
      Lanes parts[kBlocks] = {};
      for (int64_t at = row * row_size; at < (row + 1) * row_size; at += images.channels) {
        add(parts, at, channels, value);
      }
      for (int block = 0; block < kBlocks; ++block) {
        Scalar values[kLanes];
        store(values, parts[block]);
        for (int64_t i = 0; i < kLanes; ++i) sums[block * kLanes + i] += values[i];
      }
    }
    Scalar* to = job.sums + tile.image * images.channels + tile.begin;
    for (int64_t c = 0; c < channels; ++c) to[c] = static_cast<Scalar>(sums[c]);
  }

  template <class Value>
  static SG3_INLINE void add(Lanes (&parts)[kBlocks], int64_t at, int64_t channels, const Value& value) {
#pragma GCC unroll 4
    for (int block = 0; block < kBlocks; ++block) {
      const int64_t count = channels - block * kLanes;
      if (count > 0) parts[block] += value(at + block * kLanes, count < kLanes ? count : kLanes);
    }
  }
};

}  // namespace

SG3_DEFINE_KERNEL(ScaleChannelsJob, ScaleKernel)
SG3_DEFINE_KERNEL(SumPixelsJob, SumKernel)

}  // namespace sg3::SG3_ISA
