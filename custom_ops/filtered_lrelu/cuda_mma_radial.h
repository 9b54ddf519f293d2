// filtered_lrelu by tensor cores with a radial filter of 12 x 12 taps on one side, as in config R. It is twelve banded
// matrices, one for each of its rows, which takes fewer products than a sum of separable terms (docs/adr/0020).

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_RADIAL_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_RADIAL_H_

#include "custom_ops/filtered_lrelu/cuda_mma_block.h"

namespace sg3::cuda {

// Radial downsampling by 2. For every stripe of 8 rows of samples:
//
//   1. columns: 16 input rows -> 8 upsampled rows of each input column            input plane  -> rows plane
//   2. rows:    upsampling and the nonlinearity, one row for each warp            rows plane   -> sample plane
//   3. 4 more output rows; each warp keeps the sums of 8 columns of those 6       sample plane -> output plane
//      output rows that the next rows of samples contribute to
//   4. output plane -> y; the next input rows, loaded early -> input plane
template <class T, int UP, int DOWN, int MODE>
struct MmaRadialDownBlock : MmaTile<T, UP, DOWN, MODE, kMmaWarps> {
  using Tile = MmaTile<T, UP, DOWN, MODE, kMmaWarps>;
  using Inner = typename Tile::Inner;
  using Vector8 = typename Tile::Vector8;
  using Tile::p, Tile::shared, Tile::taps, Tile::Tile;
  static_assert(DOWN == 2, "");

  static constexpr MmaRadial kRadial = MmaRadial::kDown;
  static constexpr int kOpenRows = kMmaRadialTaps / DOWN;  // of outputs that a row of samples contributes to
  static constexpr int kNewOutputs = Tile::kLines / DOWN;  // rows that a stripe completes
  static constexpr int kMostOutputs = 8 * kMmaWarps;       // of a strip
  static constexpr int kSteps = 2;                         // of 16 samples that 8 outputs read
  static constexpr int kUpX = Tile::kUpParts * Tile::kColumnTiles, kDown = kUpX + 2;
  static constexpr int kFilters = kDown + kMmaRadialTaps * kSteps;

  template <class Lane>
  SG3_HD void run(Lane& lane) const {
    const int first_row = Tile::first_input(p.y, Tile::first_sample_y());
    const int left = Tile::first_input(p.x, Tile::first_sample_x());
    const int stripes = ceil_div(Tile::output_rows() + kOpenRows - 1, kNewOutputs);

    make_filters(lane);
    Tile::make_gains(lane);
    Tile::load_first_rows(lane, first_row, left);
    lane.sync();
    float sums[kOpenRows][4] = {};
    for (int stripe = 0; stripe < stripes; ++stripe) {
      const int row = first_row + stripe * Tile::kNewRows;
      const bool more = stripe + 1 < stripes;
      Vector8 held[Tile::kHeldVectors];
      if (more) Tile::load_rows(lane, row + 16, left, held);
      Tile::upsample_columns(lane, row, 0);
      Tile::make_line_gains(lane, stripe);
      lane.sync();
      sweep_row(lane, stripe);
      lane.sync();
      downsample(lane, sums);
      if (more) Tile::keep_rows(lane, row + 16, held);
      lane.sync();
      Tile::store_outputs(lane, stripe * kNewOutputs - (kOpenRows - 1), kNewOutputs);
    }
  }

  template <class Lane>
  SG3_HD void make_filters(Lane& lane) const {
    Tile::put_up_y(lane, 0);
    Tile::put_up_x(lane, kUpX);
    Tile::template put_filters<Inner>(lane, kDown, kMmaRadialTaps * kSteps, [&](int f, int k, int n) {
      return Tile::down_entry(taps.radial + f / kSteps * kMmaRadialTaps, f % kSteps, k, n);
    });
  }

  template <class Lane>
  SG3_HD void sweep_row(Lane& lane, int stripe) const {
    uint32_t up[2][2];
    SG3_UNROLL for (int n = 0; n < 2; ++n) Tile::get_filter(lane, kUpX + n, up[n]);
    const auto line = Tile::line_at(lane, stripe, lane.warp);
    const Vector8* in = shared + p.rows_at + lane.warp * p.rows_pitch;
    Vector8* out = shared + p.swept_at + lane.warp * p.swept_pitch;
    out += Tile::swizzled(Tile::position_of(lane), Tile::half_of(lane));
    for (int step = 0; step < p.steps; ++step) {
      uint32_t samples[4] = {};
      const auto produce = [&](auto inner) {
        constexpr bool kInner = decltype(inner)::kValue;
        uint32_t a[4];
        float z[2][4];
        Tile::load_inputs(lane, in, step, a);
        SG3_UNROLL for (int n = 0; n < 2; ++n) {
          this->template upsample_row<kInner>(lane, line, step * 16 + n * 8, a, up[n], z[n]);
        }
        this->template activate<kInner>(lane, line, step * 16, z, samples);
      };
      if (line.inside) {
        if (step * 16 >= line.first_inner && step * 16 <= line.last_inner) {
          produce(Flag<true>());
        } else {
          produce(Flag<false>());
        }
      }
      lane.template store_matrices<4>(samples, out + step * 32);
    }
  }

  // Adds two rows of samples at a time to the open output rows, the oldest of which is then complete.
  template <class Lane>
  SG3_HD void downsample(Lane& lane, float (&sums)[kOpenRows][4]) const {
    const int column = lane.warp * 8;
    if (column >= p.x.outputs) return;
    uint32_t b[kMmaRadialTaps * kSteps][2];
    SG3_UNROLL for (int f = 0; f < kMmaRadialTaps * kSteps; ++f) Tile::get_filter(lane, kDown + f, b[f]);
    const Vector8* first =
        shared + p.swept_at + column * DOWN * 2 + Tile::swizzled(Tile::position_of(lane), Tile::half_of(lane));
    SG3_UNROLL for (int pair = 0; pair < kNewOutputs; ++pair) {
      SG3_UNROLL for (int parity = 0; parity < DOWN; ++parity) {
        const Vector8* samples = first + (pair * DOWN + parity) * p.swept_pitch;
        SG3_UNROLL for (int step = 0; step < kSteps; ++step) {
          uint32_t a[4];
          lane.template load_matrices<4>(samples + step * 32, a);
          SG3_UNROLL for (int row = 0; row < kOpenRows; ++row) {
            const int tap = (kOpenRows - 1 - row) * DOWN + parity;
            lane.template multiply_add<Inner>(a, b[tap * kSteps + step], sums[row], sums[row]);
          }
        }
      }
      Tile::put_outputs(
          lane, sums[0],
          shared + p.out_at + pair * p.out_pitch + Tile::swizzled(column + lane.lane % 8, Tile::half_of(lane)));
      SG3_UNROLL for (int row = 0; row < kOpenRows; ++row) {
        SG3_UNROLL for (int i = 0; i < 4; ++i) sums[row][i] = row + 1 < kOpenRows ? sums[row + 1][i] : 0.f;
      }
    }
  }
};

// Radial upsampling by 2, the gradient of the above. There is no pass along columns before the sweep: each row of
// samples is computed from six input rows. For every stripe of 16 rows of samples:
//
//   1. rows:    upsample, apply the mask and downsample 16 samples at a time      input plane -> swept plane
//   2. columns: the last stripes -> 8 output rows                                 swept plane -> output plane
//   3. output plane -> y; the next input rows, loaded early -> input plane
template <class T, int UP, int DOWN, int MODE>
struct MmaRadialUpBlock : MmaBlock<T, UP, DOWN, MODE> {
  using Base = MmaBlock<T, UP, DOWN, MODE>;
  using Inner = typename Base::Inner;
  using Vector8 = typename Base::Vector8;
  using Base::p, Base::taps, Base::kReach, Base::kAdvance, Base::Base;
  static_assert(UP == 2 && MODE == SG3_APPLY_MASK, "the input is a number between passes, and has no bias");

  static constexpr MmaRadial kRadial = MmaRadial::kUp;
  static constexpr int kRows = kMmaRadialTaps / UP;  // of input that a row of samples reads
  static constexpr int kUpX = 2 * kReach;
  static constexpr int kFilters = kUpX + 2 * kMmaRadialTaps;

  template <class Lane>
  SG3_HD void run(Lane& lane) const {
    const int first_row = Base::first_input(p.y, Base::first_sample_y());
    const int left = Base::first_input(p.x, Base::first_sample_x());
    const int stripes = Base::num_stripes();

    make_filters(lane);
    Base::load_first_rows(lane, first_row, left);
    lane.sync();
    for (int stripe = 0; stripe < stripes; ++stripe) {
      const int row = first_row + stripe * Base::kNewRows;
      const bool more = stripe + 1 < stripes;
      Vector8 held[Base::kHeldVectors];
      if (more) Base::load_rows(lane, row + 16, left, held);
      sweep_rows(lane, stripe);
      lane.sync();
      const int done = stripe - (kReach - 1);
      const bool has_outputs = done >= 0 && done % kAdvance == 0;
      if (has_outputs) Base::downsample_columns(lane, done);
      if (more) Base::keep_rows(lane, row + 16, held);
      lane.sync();
      if (has_outputs) Base::store_outputs(lane, done / kAdvance * 8, 8);
    }
  }

  template <class Lane>
  SG3_HD void make_filters(Lane& lane) const {
    Base::put_down(lane);
    Base::template put_filters<Inner>(lane, kUpX, 2 * kMmaRadialTaps, [&](int f, int k, int n) {
      return Base::up_entry(p.x, taps.radial + f / 2 * kMmaRadialTaps, Base::first_sample_x(), f % 2, k, n);
    });
  }

  // A warp's rows have the same parity, and so the same six rows of the filter.
  template <class Lane>
  SG3_HD void sweep_rows(Lane& lane, int stripe) const {
    uint32_t up[kRows][2][2];
    const int first_tap = Base::first_tap(p.y, Base::first_sample_y() + lane.warp);
    SG3_UNROLL for (int i = 0; i < kRows; ++i) {
      SG3_UNROLL for (int n = 0; n < 2; ++n) { Base::get_filter(lane, kUpX + (first_tap + i * UP) * 2 + n, up[i][n]); }
    }
    Base::sweep(lane, stripe, [&](auto, const auto& line, int, int step, float (&z)[2][4]) {
      const int first_row = Base::first_input(p.y, line.sample_y);
      SG3_UNROLL for (int i = 0; i < kRows; ++i) {
        uint32_t a[4];
        Base::load_inputs(lane, Base::input_row(first_row + i), step, a);
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
