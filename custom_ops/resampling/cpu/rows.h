// Computes the rows of a resampled image one by one, for sixteen channels and a range of columns.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CPU_ROWS_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CPU_ROWS_H_

#include "custom_ops/resampling/cpu/fir.h"
#include "custom_ops/resampling/cpu/polyphase.h"
#include "custom_ops/resampling/cpu/tiling.h"

namespace sg3::SG3_ISA {
namespace {

SG3_INLINE int64_t Min(int64_t a, int64_t b) { return a < b ? a : b; }
SG3_INLINE int64_t Max(int64_t a, int64_t b) { return a > b ? a : b; }

// Returns the space that `count` pointers take, in scalars, rounded up so that the data after them stay aligned.
template <class Scalar>
SG3_INLINE int64_t pointers(int64_t count) {
  return (count * int64_t{sizeof(void*)} / int64_t{sizeof(Scalar)} + kLanes - 1) / kLanes * kLanes;
}

// Sixteen channels (or the last few) of one image in a batch.
template <class T>
struct Channels {
  const T* pixels;  // the first of these channels at (0, 0)
  int64_t stride;   // from one column to the next: all channels
  int64_t count;    // at most 16
  typename Arithmetic<T>::Scalar bias[kLanes];
};

// The channels of a tile. `bias` may be null; `size` is the number of pixels of an image.
template <class T>
SG3_INLINE Channels<T> channels_of(const void* pixels, const void* bias, const Tiling& tiling, const Tile& tile,
                                   int64_t size) {
  Channels<T> c;
  int64_t first = tile.block * kLanes;
  c.pixels = static_cast<const T*>(pixels) + tile.image * size * tiling.channels + first;
  c.stride = tiling.channels;
  c.count = Min(kLanes, tiling.channels - first);
  using Lanes = typename Arithmetic<T>::Lanes;
  store(c.bias, bias == nullptr ? Lanes{} : load_channels(static_cast<const T*>(bias) + first, c.count));
  return c;
}

// Output rows of a resampling, in increasing order, for columns [begin, end).
template <class T>
class Rows {
 public:
  using Scalar = typename Arithmetic<T>::Scalar;
  using Lanes = typename Arithmetic<T>::Lanes;
  using Phases = PolyphaseView<Scalar>;

  // Scratch memory for any `width` columns, in scalars.
  static int64_t scratch_size(const Phases& y, const Phases& x, int64_t width) {
    return (ring_size(y) + 2 * y.terms) * pitch(x, width) + pointers<Scalar>(ring_size(y));
  }

  // `begin` < `end`.
  Rows(const Channels<T>& image, const Phases& y, const Phases& x, int64_t begin, int64_t end, Scalar* scratch)
      : image_(image), y_(y), x_(x), begin_(begin), end_(end), pitch_(pitch(x, end - begin)), ring_(scratch) {
    filtered_ = ring_ + ring_size(y) * pitch_;
    rows_ = reinterpret_cast<const Scalar**>(filtered_ + 2 * y.terms * pitch_);
    in_begin_ = x.first(begin);
    in_end_ = x.first(end - 1) + x.max_taps;
    inside_begin_ = Min(Max(in_begin_, 0), x.in_size);
    inside_end_ = Max(Min(in_end_, x.in_size), inside_begin_);
    // Columns outside the image stay zero: only those inside are ever written.
    for (int64_t i = 0; i < ring_size(y) * pitch_; ++i) ring_[i] = 0;
  }

  // Calls done(column, lanes) for every column in [begin, end), in no particular order. `Cases` are those of `sum`.
  template <class... Cases, class Done>
  SG3_INLINE void compute_row(int64_t row, Done done) {
    const Scalar* filtered = filtered_ + (row == second_row_ ? y_.terms * pitch_ : 0);
    if (row != second_row_) filter_vertically(row);
    // Outputs of one phase read inputs that lie `step` apart.
    int64_t divisor = common_divisor(x_.up, x_.down), phases = x_.up / divisor, step = x_.down / divisor;
    for (int64_t o = begin_; o < Min(end_, begin_ + phases); ++o) {
      int64_t phase = x_.phase(o);
      const Scalar* source = filtered + (x_.first(o) - in_begin_) * kLanes;
      sum<Lanes, Cases...>((end_ - o + phases - 1) / phases, step, x_.terms, x_.taps_of(phase), x_.max_taps,
                           x_.counts[phase],
                           [&](int64_t term, int64_t k) { return source + term * pitch_ + k * kLanes; },
                           [&](int64_t j, Lanes lanes) { done(o + j * phases, lanes); });
    }
  }

 private:
  // The most input rows by which the next output may begin later than this one.
  static int64_t step(const Phases& y) { return (y.down + y.up - 1) / y.up; }

  static int64_t ring_size(const Phases& y) { return y.max_taps + step(y); }

  // Distance from one row to the next: the most input columns that `width` output columns can read, plus those that
  // `sum` may touch beyond them.
  static int64_t pitch(const Phases& x, int64_t width) {
    return ((width * x.down + x.up - 1) / x.up + x.max_taps + 1 + kColumns<Lanes> * x.down) * kLanes;
  }

  static int64_t common_divisor(int64_t a, int64_t b) { return b == 0 ? a : common_divisor(b, a % b); }

  // Computes `row` of the vertically filtered image for every term. If neither it nor the next row reads anything
  // outside the image, the same loads serve both rows.
  SG3_INLINE void filter_vertically(int64_t row) {
    int64_t phase = y_.phase(row), first = y_.first(row), count = y_.counts[phase];
    int64_t other = y_.phase(row + 1), shift = y_.first(row + 1) - first;
    if (first >= 0 && first + shift + count <= y_.in_size && y_.counts[other] == count && shift <= count) {
      gather(first, count + shift);
      for (int64_t term = 0; term < y_.terms; ++term) {
        Scalar *to = filtered_ + term * pitch_, *to_other = to + y_.terms * pitch_;
        sum_pair<Lanes>(
            in_end_ - in_begin_, 1, y_.taps_of(phase) + term * y_.max_taps, y_.taps_of(other) + term * y_.max_taps, 0,
            count, shift, [&](int64_t, int64_t k) { return rows_[k]; },
            [&](int64_t j, Lanes lanes) {
              store(to + j * kLanes, lanes);
              prefetch(j);
            },
            [&](int64_t j, Lanes lanes) { store(to_other + j * kLanes, lanes); });
      }
      second_row_ = row + 1;
      return;
    }
    int64_t skip = Max(0, -first), last = Min(count, y_.in_size - first);
    gather(first + skip, Max(last - skip, 0));
    for (int64_t term = 0; term < y_.terms; ++term) {
      Scalar* to = filtered_ + term * pitch_;
      sum<Lanes>(
          in_end_ - in_begin_, 1, 1, y_.taps_of(phase) + term * y_.max_taps + skip, 0, Max(last - skip, 0),
          [&](int64_t, int64_t k) { return rows_[k]; }, [&](int64_t j, Lanes lanes) { store(to + j * kLanes, lanes); });
    }
  }

  // Points rows_ to `count` input rows starting at `first`, all inside the image.
  SG3_INLINE void gather(int64_t first, int64_t count) {
    for (next_ = Max(next_, first); next_ < first + count; ++next_) read(next_);
    for (int64_t k = 0; k < count; ++k) rows_[k] = ring_ + (first + k) % ring_size(y_) * pitch_;
  }

  // Stores input row `row` plus the bias in the ring.
  SG3_INLINE void read(int64_t row) {
    const T* from = image_.pixels + (row * x_.in_size + inside_begin_) * image_.stride;
    Scalar* to = ring_ + row % ring_size(y_) * pitch_ + (inside_begin_ - in_begin_) * kLanes;
    Lanes bias = load<Lanes>(image_.bias);
    for (int64_t i = inside_begin_; i < inside_end_; ++i, from += image_.stride, to += kLanes) {
      store(to, load_channels(from, image_.count) + bias);
    }
  }

  // Prefetches a pixel of the next row to be read. Pixels lie too far apart in memory for the hardware prefetcher, and
  // a few prefetches at a time overlap with the arithmetic. An address outside the image does no harm.
  SG3_INLINE void prefetch(int64_t column) const {
    __builtin_prefetch(image_.pixels + (next_ * x_.in_size + in_begin_ + column) * image_.stride);
  }

  const Channels<T>& image_;
  const Phases &y_, &x_;
  int64_t begin_, end_;                                    // output columns
  int64_t in_begin_, in_end_, inside_begin_, inside_end_;  // input columns: read, and inside the image
  int64_t pitch_;
  Scalar* ring_;      // the last input rows
  Scalar* filtered_;  // two output rows, filtered vertically: [2, terms, columns, 16]
  const Scalar** rows_;
  int64_t next_ = 0;         // next input row to read
  int64_t second_row_ = -1;  // output row that is the second in filtered_
};

}  // namespace
}  // namespace sg3::SG3_ISA

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CPU_ROWS_H_
