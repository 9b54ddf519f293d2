// filtered_lrelu on tensor cores with a radial filter of 12 x 12 taps on one side, as in config R. It is applied as
// twelve banded matrices, one for each of its rows, which takes fewer products than a sum of separable terms
// (docs/adr/0020).

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_RADIAL_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_RADIAL_H_

#include "custom_ops/filtered_lrelu/cuda_mma_block.h"

namespace sg3::cuda {

// Radial downsampling by 2. For every stripe of 8 rows of samples:
//
//   1. columns: 16 input rows -> 8 upsampled rows of each input column            input plane  -> rows plane
//   2. rows:    upsampling and the nonlinearity, one row for each warp            rows plane   -> sample plane
//               The next input rows arrive at the same time
//   3. 4 more output rows; each warp keeps the sums of 8 columns of the 6         sample plane -> y
//      output rows that the next rows of samples contribute to
template <class T, int UP, int DOWN, int MODE>
struct MmaRadialDownBlock : MmaTile<T, UP, DOWN, MODE, kMmaWarps> {
  using Tile = MmaTile<T, UP, DOWN, MODE, kMmaWarps>;
  using Inner = typename Tile::Inner;
  using Vector8 = typename Tile::Vector8;
  using Tile::p, Tile::shared, Tile::taps, Tile::strip, Tile::Tile;
  static_assert(DOWN == 2, "");

  static constexpr MmaRadial kRadial = MmaRadial::kDown;
  static constexpr int kOpenRows = kMmaRadialTaps / DOWN;  // of outputs that a row of samples contributes to
  static constexpr int kNewOutputs = Tile::kLines / DOWN;  // rows that a stripe completes
  static constexpr int kMostOutputs = 8 * kMmaWarps;       // of a strip
  static constexpr int kSteps = 2;                         // of 16 samples that 8 outputs read
  static constexpr int kUpX = Tile::kUpParts * Tile::kColumnTiles, kDownAt = kUpX + 2;
  static constexpr int kFilters = kDownAt + kMmaRadialTaps * kSteps;

  template <class Lane>
  SG3_HD void run(Lane& lane) const {
    const int first_row = Tile::first_input(p.y, Tile::first_sample_y());
    const int left = Tile::first_input(p.x, Tile::first_sample_x());
    const int stripes = ceil_div(Tile::output_rows() + kOpenRows - 1, kNewOutputs);

    Tile::load_first_rows(lane, first_row, left);
    make_filters(lane);
    Tile::make_gains(lane);
    lane.wait_copies();
    lane.sync();
    float sums[kOpenRows][4] = {};
    for (int stripe = 0; stripe < stripes; ++stripe) {
      const int row = first_row + stripe * Tile::kNewRows;
      Tile::load_words(lane, stripe);
      Tile::upsample_columns(lane, row, 0);
      Tile::make_line_gains(lane, stripe);
      if (MODE == SG3_APPLY_MASK) lane.wait_copies();
      lane.sync();
      if (stripe + 1 < stripes) Tile::load_rows(lane, row + 16, left);
      sweep_row(lane, stripe);
      lane.sync();
      downsample(lane, stripe, sums);
      lane.wait_copies();
      lane.sync();
    }
  }

  template <class Lane>
  SG3_HD void make_filters(Lane& lane) const {
    Tile::put_up_y(lane, 0);
    Tile::put_up_x(lane, kUpX);
    Tile::put_filters(lane, kDownAt, kMmaRadialTaps * kSteps,
                      [&](int f, int k, int n) { return Tile::down_tap(taps.radial[f / kSteps], f % kSteps, k, n); });
  }

  template <class Lane>
  SG3_HD void sweep_row(Lane& lane, int stripe) const {
    auto line = Tile::line_at(lane, stripe, lane.warp);
    Vector8* out = shared + p.swept_at[0] + line.index * p.swept_pitch[0];
    out += Tile::swizzled(Tile::position_of(lane), Tile::half_of(lane));
    Tile::sweep_line(line, 16, 0,
                     [&](auto inner, int end) { sweep_samples<decltype(inner)::kValue>(lane, &line, end, &out); });
  }

  // Advances to sample `end`, a multiple of 16, and stores samples at `out`.
  template <bool INNER, class Lane, class Line>
  SG3_HD void sweep_samples(Lane& lane, Line* line, int end, Vector8** out) const {
    uint32_t up[2][2];
    SG3_UNROLL for (int n = 0; n < 2; ++n) Tile::get_filter(lane, kUpX + n, up[n]);
    while (line->at < end) {
      uint32_t a[4], samples[4];
      float z[2][4];
      lane.template load_matrices<4>(line->inputs, a);
      SG3_UNROLL for (int n = 0; n < 2; ++n) this->template upsample_row<INNER>(lane, *line, n * 8, a, up[n], z[n]);
      if constexpr (MODE == SG3_APPLY_MASK) {
        apply_mask(lane, *line, z, samples);
      } else {
        this->template activate<INNER>(lane, *line, z, samples);
      }
      lane.template store_matrices<4>(samples, *out);
      *out += 32;
      Tile::advance(line);
    }
  }

  template <class Lane, class Line>
  SG3_HD void apply_mask(const Lane& lane, const Line& line, float (&z)[2][4], uint32_t (&samples)[4]) const {
    uint32_t negative[4], unused[4];
    Tile::split(lane, line, z, samples, unused);
    SG3_UNROLL for (int i = 0; i < 8; ++i) z[i / 4][i % 4] *= p.slope;
    Tile::split(lane, line, z, unused, negative);
    SG3_UNROLL for (int i = 0; i < 4; ++i) samples[i] |= negative[i];
  }

  // Adds two rows of samples at a time to the open output rows, the oldest of which is then complete.
  template <class Lane>
  SG3_HD void downsample(Lane& lane, int stripe, float (&sums)[kOpenRows][4]) const {
    const int column = lane.warp * 8;
    if (column >= p.x.outputs) return;
    uint32_t b[kMmaRadialTaps * kSteps][2];
    SG3_UNROLL for (int f = 0; f < kMmaRadialTaps * kSteps; ++f) Tile::get_filter(lane, kDownAt + f, b[f]);
    const Vector8* first =
        shared + p.swept_at[0] + column * DOWN * 2 + Tile::swizzled(Tile::position_of(lane), Tile::half_of(lane));
    SG3_UNROLL for (int pair = 0; pair < kNewOutputs; ++pair) {
      SG3_UNROLL for (int parity = 0; parity < DOWN; ++parity) {
        const Vector8* samples = first + (pair * DOWN + parity) * p.swept_pitch[0];
        SG3_UNROLL for (int step = 0; step < kSteps; ++step) {
          uint32_t a[4];
          lane.template load_matrices<4>(samples + step * 32, a);
          SG3_UNROLL for (int row = 0; row < kOpenRows; ++row) {
            const int tap = (kOpenRows - 1 - row) * DOWN + parity;
            lane.template multiply_add<Inner>(a, b[tap * kSteps + step], sums[row], sums[row]);
          }
        }
      }
      Tile::put_outputs(lane, sums[0], pair % 2 * 2);
      SG3_UNROLL for (int row = 0; row < kOpenRows; ++row) {
        SG3_UNROLL for (int i = 0; i < 4; ++i) sums[row][i] = row + 1 < kOpenRows ? sums[row + 1][i] : 0.f;
      }
      if (pair % 2 == 1) store_rows(lane, stripe * kNewOutputs - (kOpenRows - 1) + pair - 1, column);
    }
  }

  // Writes 8 columns of two rows.
  template <class Lane>
  SG3_HD void store_rows(Lane& lane, int first_row, int first_column) const {
    const auto share = Tile::share_of(lane);
    lane.sync_warp();
    Tile::for_shared([&](auto aligned, int i) {
      const int pixel = share.pixel + i * 4, row = first_row + pixel / 8, column = first_column + pixel % 8;
      const bool exists = unsigned(row) < unsigned(Tile::output_rows()) && column < p.x.out_size - strip * p.x.outputs;
      if (exists && Tile::left_channels(share.channel) > 0) {
        this->template store_output<decltype(aligned)::kValue>(lane, pixel / 8 * 2, pixel % 8, share.channel,
                                                               Tile::output_at(row, column, share.channel));
      }
    });
    lane.sync_warp();
  }
};

// Radial upsampling by 2, the gradient of the above. There is no pass along columns before the sweep: each row of
// samples is computed from six input rows. For every stripe of 16 rows of samples:
//
//   1. rows:    upsample, apply the mask and downsample 16 samples at a time      input plane -> swept plane
//   2. columns: as in MmaBlock                                                    swept plane -> y
template <class T, int UP, int DOWN, int MODE>
struct MmaRadialUpBlock : MmaBlock<T, UP, DOWN, MODE> {
  using Base = MmaBlock<T, UP, DOWN, MODE>;
  using Inner = typename Base::Inner;
  using Vector8 = typename Base::Vector8;
  using Base::p, Base::taps, Base::kReach, Base::kAdvance, Base::Base;
  static_assert(UP == 2 && MODE == SG3_APPLY_MASK, "the input is a number between passes, and has no bias");

  static constexpr MmaRadial kRadial = MmaRadial::kUp;
  static constexpr int kRows = kMmaRadialTaps / UP;  // of input that a row of samples reads
  static constexpr int kUpX = Base::kUpY, kFilters = kUpX + 2 * kMmaRadialTaps;

  template <class Lane>
  SG3_HD void run(Lane& lane) const {
    const int first_row = Base::first_input(p.y, Base::first_sample_y());
    const int left = Base::first_input(p.x, Base::first_sample_x());
    const int stripes = Base::num_stripes();

    Base::load_first_rows(lane, first_row, left);
    make_filters(lane);
    typename Base::Sums sums = {};
    for (int stripe = 0; stripe < stripes; ++stripe) {
      Base::load_words(lane, stripe);
      lane.wait_copies();
      lane.sync();
      if (stripe + 1 < stripes) Base::load_rows(lane, first_row + stripe * Base::kNewRows + 16, left);
      sweep_rows(lane, stripe);
      lane.sync();
      Base::downsample_columns(lane, stripe, sums);
    }
  }

  template <class Lane>
  SG3_HD void make_filters(Lane& lane) const {
    Base::put_down(lane);
    const int tap = Base::first_tap(p.x, Base::first_sample_x());
    Base::put_filters(lane, kUpX, 2 * kMmaRadialTaps,
                      [&](int f, int k, int n) { return Base::up_tap(taps.radial[f / 2], tap, f % 2, k, n); });
  }

  // A warp's rows have the same parity, and so the same six rows of the filter.
  template <class Lane>
  SG3_HD void sweep_rows(Lane& lane, int stripe) const {
    uint32_t up[kRows][2][2];
    const int first_tap = Base::first_tap(p.y, Base::first_sample_y() + lane.warp);
    SG3_UNROLL for (int i = 0; i < kRows; ++i) {
      SG3_UNROLL for (int n = 0; n < 2; ++n) { Base::get_filter(lane, kUpX + (first_tap + i * UP) * 2 + n, up[i][n]); }
    }
    Base::sweep(lane, stripe, [&](auto, const auto& line, float (&z)[2][4]) {
      const int first_row = Base::first_input(p.y, Base::first_sample_y() + stripe * 16 + line.index);
      SG3_UNROLL for (int i = 0; i < kRows; ++i) {
        uint32_t a[4];
        lane.template load_matrices<4>(Base::input_row(first_row + i) + line.place, a);
        SG3_UNROLL for (int n = 0; n < 2; ++n) {
          const float zero[4] = {};
          if (i == 0) lane.template multiply_add<Inner>(a, up[i][n], zero, z[n]);
          if (i > 0) lane.template multiply_add<Inner>(a, up[i][n], z[n], z[n]);
        }
      }
    });
  }
};

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_RADIAL_H_
