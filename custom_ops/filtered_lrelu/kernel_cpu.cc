// The CPU kernel of filtered leaky ReLU, compiled once per instruction set (SG3_ISA). No standard headers: see
// cpu/simd.h.

#include "custom_ops/filtered_lrelu/job.h"
#include "custom_ops/filtered_lrelu/problem.h"
#include "custom_ops/resampling/cpu/kernel.h"

namespace sg3::SG3_ISA {
namespace {

template <class T>
using JobOf = FilteredLreluJob<typename Arithmetic<T>::Scalar>;

// The upsampled samples of one axis that a tile computes, and those among them whose mask words it writes.
struct Span {
  int64_t begin, end, own_begin, own_end;
};

template <class Scalar>
SG3_INLINE Span span(const PolyphaseView<Scalar>& down, int64_t first, int64_t last, bool mask) {
  auto start = [&](int64_t output) { return Min(Max(output * down.down - down.before, 0), down.in_size); };
  Span s;
  s.begin = s.own_begin = start(first);
  s.own_end = last == down.out_size ? down.in_size : start(last);
  s.end = Min(Max((last - 1) * down.down - down.before + down.max_taps, s.begin), down.in_size);
  if (mask) s.end = Max(s.end, s.own_end);
  return s;
}

// The operation on samples. Held by value where it is used, because the compiler must assume that any store changes a
// job.
template <class Lanes>
struct Activation {
  Lanes slope, clamp;

  SG3_INLINE Lanes activated(Lanes z) const {
    z = where_less(z, Lanes{}, z * slope, z);
    return maximum(minimum(z, clamp), -clamp);
  }

  // Returns the word of the mask: bits of the negative channels, and of the clamped ones.
  SG3_INLINE uint32_t bits(Lanes z) const {
    Lanes magnitude = where_less(z, Lanes{}, z * -slope, z);
    return less_bits(z, Lanes{}) | ~less_bits(magnitude, clamp) << kLanes;
  }

  SG3_INLINE Lanes masked(Lanes z, uint32_t word) const {
    z = choose(word, z * slope, z);
    return choose(word >> kLanes, Lanes{}, z);
  }
};

// One tile of sixteen channels. It streams through the rows of the upsampled image and holds one of them at a time.
template <class T, int mode>
class TileStream {
 public:
  using Scalar = typename Arithmetic<T>::Scalar;
  using Lanes = typename Arithmetic<T>::Lanes;

  static int64_t scratch_size(const JobOf<T>& job) {
    return Rows<T>::scratch_size(job.up_y, job.up_x, upsampled_columns(job)) + upsampled_columns(job) * (kLanes + 1) +
           tail_padding(job.down_x.down) + filtered_size(job) + pointers<Scalar>(job.down_x.terms * ring_size(job));
  }

  TileStream(const JobOf<T>& job, const Channels<T>& image, const Tile& tile, Scalar* scratch)
      : job_(job),
        tile_(tile),
        columns_(span(job.down_x, tile.x_begin, tile.x_end, mode == SG3_ACTIVATE_AND_MASK)),
        lines_(span(job.down_y, tile.y_begin, tile.y_end, mode == SG3_ACTIVATE_AND_MASK)),
        rows_(image, job.up_y, job.up_x, columns_.begin, columns_.end, scratch) {
    int64_t columns = upsampled_columns(job);
    upsampled_ = scratch + Rows<T>::scratch_size(job.up_y, job.up_x, columns);
    filtered_ = upsampled_ + columns * kLanes + tail_padding(job.down_x.down);
    sources_ = reinterpret_cast<const Scalar**>(filtered_ + filtered_size(job));
    words_ = reinterpret_cast<uint32_t*>(filtered_ + filtered_size(job) +
                                         pointers<Scalar>(job.down_x.terms * ring_size(job)));
    // Columns outside the upsampled image stay zero.
    for (int64_t i = 0; i < columns * kLanes; ++i) upsampled_[i] = 0;
    origin_ = tile.x_begin * job.down_x.down - job.down_x.before;
  }

  // `mask` (null for SG3_ACTIVATE) and `output` point to these channels at (0, 0) of the image.
  SG3_INLINE void run(uint32_t* mask, T* output, int64_t count) {
    auto mask_of = [&](int64_t line) { return mode == SG3_ACTIVATE ? nullptr : mask + line * job_.down_x.in_size; };
    int64_t line = lines_.begin;
    const PolyphaseView<Scalar>& down = job_.down_y;
    int64_t pitch = job_.down_x.out_size * job_.tiling.channels;
    for (int64_t y = tile_.y_begin; y < tile_.y_end;) {
      int64_t first = y * down.down - down.before, both = down.max_taps + down.down;
      bool pair = y + 1 < tile_.y_end && first >= 0 && first + both <= down.in_size && down.down <= down.max_taps;
      int64_t last = Min(first + (pair ? both : down.max_taps), down.in_size);
      for (; line < last; ++line) upsample_row(line, mask_of(line));
      T* to = output + y * pitch + tile_.x_begin * job_.tiling.channels;
      pair ? write_row_pair(first, to, to + pitch, count) : write_row(first, to, count);
      y += pair ? 2 : 1;
    }
    for (; line < lines_.end; ++line) upsample_row(line, mask_of(line));
  }

 private:
  // The most columns of a tile: those that its outputs read, and the last few of the image, which no output may read.
  static int64_t upsampled_columns(const JobOf<T>& job) {
    return job.tiling.tile_width * job.down_x.down + job.down_x.max_taps;
  }

  // The surplus that `sum` may read after a row, in steps of `step`.
  static int64_t tail_padding(int64_t step) { return kColumns<Lanes> * step * kLanes; }

  // Distance from one row of `filtered_` to the next.
  static int64_t pitch(const JobOf<T>& job) { return job.tiling.tile_width * kLanes + tail_padding(1); }

  // The number of rows that two output rows read.
  static int64_t ring_size(const JobOf<T>& job) { return job.down_y.max_taps + job.down_y.down; }

  static int64_t filtered_size(const JobOf<T>& job) { return job.down_x.terms * ring_size(job) * pitch(job); }

  Scalar* filtered(int64_t term, int64_t line) {
    return filtered_ + (term * ring_size(job_) + line % ring_size(job_)) * pitch(job_);
  }

  // Computes one row of the upsampled image, passes it through the nonlinearity, and filters it horizontally.
  SG3_INLINE void upsample_row(int64_t line, uint32_t* mask) {
    Scalar* upsampled = upsampled_ - origin_ * kLanes;
    uint32_t* words = words_ - columns_.begin;
    Activation<Lanes> act = {broadcast<Lanes>(job_.slope), broadcast<Lanes>(job_.clamp)};
    rows_.template compute_row<Case<6, 1>>(line, [=](int64_t column, Lanes z) {
      if (mode == SG3_ACTIVATE_AND_MASK) words[column] = act.bits(z);
      store(upsampled + column * kLanes, mode == SG3_APPLY_MASK ? act.masked(z, mask[column]) : act.activated(z));
    });
    if (mode == SG3_ACTIVATE_AND_MASK && lines_.own_begin <= line && line < lines_.own_end) {
      for (int64_t i = columns_.own_begin; i < columns_.own_end; ++i) mask[i] = words[i];
    }
    downsample_row(line);
  }

  // Filters the upsampled row horizontally.
  SG3_INLINE void downsample_row(int64_t line) {
    const PolyphaseView<Scalar>& down = job_.down_x;
    for (int64_t term = 0; term < down.terms; ++term) {
      Scalar* to = filtered(term, line);
      sum<Lanes, Case<12, 2>>(
          tile_.x_end - tile_.x_begin, down.down, 1, down.taps + term * down.max_taps, 0, down.max_taps,
          [&](int64_t, int64_t k) { return upsampled_ + k * kLanes; },
          [&](int64_t j, Lanes lanes) { store(to + j * kLanes, lanes); });
    }
  }

  // Writes one row of the output: filters the rows starting at `first` vertically.
  SG3_INLINE void write_row(int64_t first, T* to, int64_t count) {
    const PolyphaseView<Scalar>& down = job_.down_y;
    int64_t skip = Max(0, -first), taps = Max(Min(down.max_taps, down.in_size - first) - skip, 0);
    gather(first + skip, taps);
    sum<Lanes>(
        tile_.x_end - tile_.x_begin, 1, down.terms, down.taps + skip, down.max_taps, taps,
        [&](int64_t term, int64_t k) { return sources_[term * ring_size(job_) + k]; },
        [&](int64_t j, Lanes lanes) { store_channels(to + j * job_.tiling.channels, lanes, count); });
  }

  // Writes two rows of the output, which read nothing outside the image.
  SG3_INLINE void write_row_pair(int64_t first, T* to, T* to_next, int64_t count) {
    const PolyphaseView<Scalar>& down = job_.down_y;
    gather(first, ring_size(job_));
    sum_pair<Lanes>(
        tile_.x_end - tile_.x_begin, down.terms, down.taps, down.taps, down.max_taps, down.max_taps, down.down,
        [&](int64_t term, int64_t k) { return sources_[term * ring_size(job_) + k]; },
        [&](int64_t j, Lanes lanes) { store_channels(to + j * job_.tiling.channels, lanes, count); },
        [&](int64_t j, Lanes lanes) { store_channels(to_next + j * job_.tiling.channels, lanes, count); });
  }

  // Points sources_ to `count` rows starting at `first`.
  SG3_INLINE void gather(int64_t first, int64_t count) {
    for (int64_t term = 0; term < job_.down_y.terms; ++term) {
      for (int64_t k = 0; k < count; ++k) sources_[term * ring_size(job_) + k] = filtered(term, first + k);
    }
  }

  const JobOf<T>& job_;
  const Tile& tile_;
  int64_t origin_;  // column of the upsampled image at which `upsampled_` begins
  Span columns_, lines_;
  Rows<T> rows_;
  Scalar *upsampled_, *filtered_;  // one row, and the last rows filtered horizontally: [terms, ring, width, 16]
  const Scalar** sources_;
  uint32_t* words_;  // the row's mask
};

template <class T, int mode>
void run_tile(const JobOf<T>& job, const Tile& tile, void* scratch) {
  const void* bias = mode == SG3_APPLY_MASK ? nullptr : job.bias;
  Channels<T> image = channels_of<T>(job.x, bias, job.tiling, tile, job.up_y.in_size * job.up_x.in_size);
  int64_t plane = tile.image * job.tiling.blocks() + tile.block, out_size = job.down_y.out_size * job.down_x.out_size;
  uint32_t* mask = mode == SG3_ACTIVATE ? nullptr : job.mask + plane * job.down_y.in_size * job.down_x.in_size;
  T* output = static_cast<T*>(job.y) + tile.image * out_size * image.stride + tile.block * kLanes;
  TileStream<T, mode>(job, image, tile, static_cast<typename Arithmetic<T>::Scalar*>(scratch))
      .run(mask, output, image.count);
}

template <class T>
struct TileKernel {
  static int64_t scratch_size(const JobOf<T>& job) { return TileStream<T, SG3_ACTIVATE>::scratch_size(job); }

  static void run(const JobOf<T>& job, const Tile& tile, void* scratch) {
    if (job.mode == SG3_ACTIVATE) run_tile<T, SG3_ACTIVATE>(job, tile, scratch);
    if (job.mode == SG3_ACTIVATE_AND_MASK) run_tile<T, SG3_ACTIVATE_AND_MASK>(job, tile, scratch);
    if (job.mode == SG3_APPLY_MASK) run_tile<T, SG3_APPLY_MASK>(job, tile, scratch);
  }
};

}  // namespace

SG3_DEFINE_KERNEL(FilteredLreluJob, TileKernel)

}  // namespace sg3::SG3_ISA
