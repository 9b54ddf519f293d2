// filtered_lrelu by tensor cores with separable filters: the work of one block of threads. For every stripe of 16 rows
// of samples:
//
//   1. columns: 16 input rows -> 16 upsampled rows of each input column           input plane -> rows plane
//   2. rows:    upsample, nonlinearity and downsample 16 samples at a time; the   rows plane  -> swept plane
//               sum of one product has the layout of the next one's operand, so that samples never leave registers
//   3. columns: the last stripes -> 8 output rows                                 swept plane -> output plane
//   4. output plane -> y; the next input rows, loaded early -> input plane

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_BLOCK_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_BLOCK_H_

#include "custom_ops/filtered_lrelu/cuda_mma_tile.h"

namespace sg3::cuda {

template <class T, int UP, int DOWN, int MODE>
struct MmaBlock : MmaTile<T, UP, DOWN, MODE, 16> {
  using Tile = MmaTile<T, UP, DOWN, MODE, 16>;
  using Inner = typename Tile::Inner;
  using Vector8 = typename Tile::Vector8;
  using Tile::p, Tile::shared, Tile::taps, Tile::Tile;

  static constexpr int kReach = ceil_div(7 * DOWN + Tile::kDownTaps, 16);  // steps of 16 samples that 8 outputs read
  static constexpr int kAdvance = DOWN / 2;                                // steps from 8 outputs to the next 8
  static constexpr int kSums = kReach / kAdvance;                          // tiles of 8 outputs that are under way
  static_assert(8 * DOWN == 16 * kAdvance && kReach % kAdvance == 0, "");

  // For float16 images the swept plane has a second part, of what rounding has taken away from the first, because
  // three roundings to float16 between input and output lose too much (docs/adr/0020).
  static constexpr int kSweptParts = kIsHalf<T> && MODE != SG3_APPLY_MASK ? 2 : 1;
  static constexpr int kSweptLines = kReach * 16;
  static constexpr int kMostOutputs = 1 << 20;  // of a strip: no bound

  static constexpr MmaRadial kRadial = MmaRadial::kNone;
  // Places of the filter matrices; those that downsample along y are the first.
  static constexpr int kDownX = kReach, kUpY = 2 * kReach, kUpX = kUpY + 2 * Tile::kUpParts;
  static constexpr int kFilters = kUpX + 2;

  SG3_HD int num_stripes() const { return (ceil_div(Tile::output_rows(), 8) - 1) * kAdvance + kReach; }

  // All phases, for one thread.
  template <class Lane>
  SG3_HD void run(Lane& lane) const {
    const int first_row = Tile::first_input(p.y, Tile::first_sample_y());
    const int left = Tile::first_input(p.x, Tile::first_sample_x());
    const int stripes = num_stripes();

    make_filters(lane);
    Tile::make_gains(lane);
    Tile::load_first_rows(lane, first_row, left);
    lane.sync();
    for (int stripe = 0; stripe < stripes; ++stripe) {
      const int row = first_row + stripe * Tile::kNewRows;
      const bool more = stripe + 1 < stripes;
      Vector8 held[Tile::kHeldVectors];
      if (more) Tile::load_rows(lane, row + 16, left, held);
      Tile::upsample_columns(lane, row, kUpY);
      Tile::make_line_gains(lane, stripe);
      lane.sync();
      sweep_rows(lane, stripe);
      lane.sync();
      const int done = stripe - (kReach - 1);
      const bool has_outputs = done >= 0 && done % kAdvance == 0;
      if (has_outputs) {
        downsample_columns(lane, done);
        lane.sync();
        Tile::store_outputs(lane, done / kAdvance * 8, 8);
      }
      if (more) Tile::keep_rows(lane, row + 16, held);
      lane.sync();
    }
  }

  template <class Lane>
  SG3_HD void make_filters(Lane& lane) const {
    put_down(lane);
    Tile::put_up_y(lane, kUpY);
    Tile::put_up_x(lane, kUpX);
  }

  template <class Lane>
  SG3_HD void put_down(Lane& lane) const {
    Tile::template put_filters<Inner>(lane, 0, 2 * kReach, [&](int f, int k, int n) {
      return Tile::down_entry(f < kReach ? taps.down_y : taps.down_x, f % kReach, k, n);
    });
  }

  template <class Lane>
  SG3_HD void sweep_rows(Lane& lane, int stripe) const {
    uint32_t up[2][2];
    SG3_UNROLL for (int n = 0; n < 2; ++n) Tile::get_filter(lane, kUpX + n, up[n]);
    sweep(lane, stripe, [&](auto inner, const auto& line, int row, int step, float (&z)[2][4]) {
      constexpr bool kInner = decltype(inner)::kValue;
      uint32_t a[4];
      Tile::load_inputs(lane, shared + p.rows_at + row * p.rows_pitch, step, a);
      SG3_UNROLL for (int n = 0; n < 2; ++n) {
        this->template upsample_row<kInner>(lane, line, step * 16 + n * 8, a, up[n], z[n]);
      }
    });
  }

  // The pass along a warp's rows of the stripe. upsample(Flag<INNER>(), line, row, step, z) computes z of 16 samples.
  template <class Lane, class Upsample>
  SG3_HD void sweep(Lane& lane, int stripe, Upsample upsample) const {
    uint32_t down[kReach][2];
    SG3_UNROLL for (int step = 0; step < kReach; ++step) Tile::get_filter(lane, kDownX + step, down[step]);
    for (int row = lane.warp; row < 16; row += kMmaWarps) sweep_row(lane, stripe, row, upsample, down);
  }

  template <class Lane, class Upsample>
  SG3_HD void sweep_row(Lane& lane, int stripe, int row, Upsample upsample, const uint32_t (&down)[kReach][2]) const {
    const auto line = Tile::line_at(lane, stripe, row);
    Vector8* out = shared + p.swept_at + (stripe % kReach * 16 + row) * p.swept_pitch +
                   Tile::swizzled(lane.lane % 8, Tile::half_of(lane));
    float sums[kSums][4] = {};
    for (int first = 0; first < p.steps; first += kAdvance) {
      SG3_UNROLL for (int s = 0; s < kAdvance; ++s) {
        const int step = first + s;
        uint32_t samples[4] = {};
        const auto produce = [&](auto inner) {
          float z[2][4];
          upsample(inner, line, row, step, z);
          this->template activate<decltype(inner)::kValue>(lane, line, step * 16, z, samples);
        };
        if (line.inside) {
          if (step * 16 >= line.first_inner && step * 16 <= line.last_inner) {
            produce(Flag<true>());
          } else {
            produce(Flag<false>());
          }
        }
        // The oldest tile reads these samples by its last filter matrix.
        SG3_UNROLL for (int tile = 0; tile < kSums; ++tile) {
          lane.template multiply_add<Inner>(samples, down[(kSums - 1 - tile) * kAdvance + s], sums[tile], sums[tile]);
        }
      }
      const int column = (first / kAdvance - (kSums - 1)) * 8;
      if (column >= 0) put_swept(lane, sums[0], out + column * 2);
      SG3_UNROLL for (int tile = 0; tile < kSums; ++tile) {
        SG3_UNROLL for (int i = 0; i < 4; ++i) sums[tile][i] = tile + 1 < kSums ? sums[tile + 1][i] : 0.f;
      }
    }
  }

  // Rounds 8 sums of a row. One more product, by the negative identity, gives the remainders.
  template <class Lane>
  SG3_HD void put_swept(Lane& lane, float (&c)[4], Vector8* row) const {
    uint32_t packed[2 * kSweptParts] = {pack_saturated<Inner>(c[0], c[1]), pack_saturated<Inner>(c[2], c[3])};
    if constexpr (kSweptParts == 2) {
      lane.multiply_add_8(packed[0], packed[1], minus_identity(lane.lane), c);
      packed[2] = pack<Inner>(c[0], c[1]);
      packed[3] = pack<Inner>(c[2], c[3]);
      row += lane.lane / 16 * kSweptLines * p.swept_pitch;
    }
    lane.template store_matrices<2 * kSweptParts>(packed, row);
  }

  template <class Lane>
  SG3_HD void downsample_columns(Lane& lane, int first_stripe) const {
    uint32_t b[kReach][2];
    SG3_UNROLL for (int step = 0; step < kReach; ++step) Tile::get_filter(lane, step, b[step]);
    const int first = Tile::swizzled(lane.warp, Tile::half_of(lane));
    const Vector8* rows[kReach];
    SG3_UNROLL for (int step = 0; step < kReach; ++step) {
      const int row = (first_stripe + step) % kReach * 16 + Tile::position_of(lane);
      rows[step] = shared + p.swept_at + row * p.swept_pitch + first;
    }
    Vector8* out = shared + p.out_at + lane.lane % 8 * p.out_pitch + first;
    for (int column = lane.warp; column < p.x.outputs; column += kMmaWarps) {
      const int place = (column - lane.warp) * 2;
      float c[4] = {};
      SG3_UNROLL for (int step = 0; step < kReach; ++step) {
        SG3_UNROLL for (int part = 0; part < kSweptParts; ++part) {
          uint32_t a[4];
          lane.template load_matrices<4>(rows[step] + part * kSweptLines * p.swept_pitch + place, a);
          lane.template multiply_add<Inner>(a, b[step], c, c);
        }
      }
      Tile::put_outputs(lane, c, out + place);
    }
  }
};

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_BLOCK_H_
