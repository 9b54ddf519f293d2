// The CPU kernels of the operations on channels, compiled once per instruction set (SG3_ISA). No standard headers: see
// cpu/simd.h.

#include "custom_ops/channels/job.h"
#include "custom_ops/resampling/cpu/kernel.h"

namespace sg3::SG3_ISA {
namespace {

// Distance of a tile's first element from that of its batch.
SG3_INLINE int64_t offset(const Tiling& t, const Tile& tile, int64_t row) {
  return ((tile.image * t.out_height + row) * t.out_width + tile.x_begin) * t.channels + tile.block * kLanes;
}

SG3_INLINE int64_t channels_of(const Tiling& t, const Tile& tile) {
  const int64_t count = t.channels - tile.block * kLanes;
  return count < kLanes ? count : kLanes;
}

template <class T>
struct ScaleKernel {
  using Scalar = typename Arithmetic<T>::Scalar;
  using Lanes = typename Arithmetic<T>::Lanes;
  using Job = ScaleChannelsJob<Scalar>;

  static int64_t scratch_size(const Job&) { return 0; }

  static void run(const Job& job, const Tile& tile, void*) {
    const Tiling& t = job.tiling;
    const int64_t count = channels_of(t, tile);
    const Lanes factor = load_channels(job.factors + tile.image * t.channels + tile.block * kLanes, count);
    for (int64_t row = tile.y_begin; row < tile.y_end; ++row) {
      const T* from = static_cast<const T*>(job.x) + offset(t, tile, row);
      T* to = static_cast<T*>(job.y) + offset(t, tile, row);
      for (int64_t column = tile.x_begin; column < tile.x_end; ++column, from += t.channels, to += t.channels) {
        store_channels(to, load_channels(from, count) * factor, count);
      }
    }
  }
};

template <class T>
struct SumKernel {
  using Scalar = typename Arithmetic<T>::Scalar;
  using Lanes = typename Arithmetic<T>::Lanes;
  using Job = SumPixelsJob<Scalar>;

  static int64_t scratch_size(const Job&) { return 0; }

  static void run(const Job& job, const Tile& tile, void*) {
    double sums[kLanes] = {};
    for (int64_t row = tile.y_begin; row < tile.y_end; ++row) {
      const int64_t start = offset(job.tiling, tile, row);
      const T* x = static_cast<const T*>(job.x) + start;
      Scalar of_row[kLanes];
      if (job.y == nullptr) {
        store(of_row, sum(job, tile, [&](int64_t at, int64_t count) { return load_channels(x + at, count); }));
      } else {
        const T* y = static_cast<const T*>(job.y) + start;
        store(of_row, sum(job, tile, [&](int64_t at, int64_t count) {
                return load_channels(x + at, count) * load_channels(y + at, count);
              }));
      }
      for (int64_t i = 0; i < kLanes; ++i) sums[i] += of_row[i];
    }
    Scalar* to = job.sums + tile.image * job.tiling.channels + tile.block * kLanes;
    for (int64_t i = 0; i < channels_of(job.tiling, tile); ++i) to[i] = static_cast<Scalar>(sums[i]);
  }

 private:
  // Sums value(distance of a pixel from the first, channels) over a row, in four sums that do not wait for each other.
  template <class Value>
  static SG3_INLINE Lanes sum(const Job& job, const Tile& tile, const Value& value) {
    const int64_t stride = job.tiling.channels, count = channels_of(job.tiling, tile);
    const int64_t width = tile.x_end - tile.x_begin;
    Lanes parts[4] = {};
    int64_t column = 0;
    for (; column + 4 <= width; column += 4) {
      for (int64_t i = 0; i < 4; ++i) parts[i] += value((column + i) * stride, count);
    }
    for (; column < width; ++column) parts[0] += value(column * stride, count);
    return (parts[0] + parts[1]) + (parts[2] + parts[3]);
  }
};

}  // namespace

SG3_DEFINE_KERNEL(ScaleChannelsJob, ScaleKernel)
SG3_DEFINE_KERNEL(SumPixelsJob, SumKernel)

}  // namespace sg3::SG3_ISA
