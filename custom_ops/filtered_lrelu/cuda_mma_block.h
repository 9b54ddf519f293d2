// filtered_lrelu on tensor cores with separable filters: the work of one block of threads. For every stripe of 16 rows
// of samples:
//
//   1. columns: 16 input rows -> 16 upsampled rows of each input column           input plane -> rows plane
//   2. rows:    upsample, nonlinearity and downsample 16 samples at a time; the   rows plane  -> swept plane
//               result of one product has the layout of the next one's operand, so samples never leave registers.
//               At the same time, the next input rows replace those that no stripe reads anymore
//   3. columns: each warp adds the stripe to the sums of the output rows that it contributes to, which stay in
//               registers, and writes 8 rows that are complete                    swept plane -> y

#ifndef SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_BLOCK_H_
#define SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_BLOCK_H_

#include "custom_ops/filtered_lrelu/cuda_mma_tile.h"

namespace sg3::cuda {

template <class T, int UP, int DOWN, int MODE>
struct MmaBlock : MmaTile<T, UP, DOWN, MODE, 16> {
  using Tile = MmaTile<T, UP, DOWN, MODE, 16>;
  using Inner = typename Tile::Inner;
  using Vector8 = typename Tile::Vector8;
  using Tile::p, Tile::shared, Tile::taps, Tile::strip, Tile::Tile;

  static constexpr int kReach = ceil_div(7 * DOWN + Tile::kDownTaps, 16);  // steps of 16 samples that 8 outputs read
  static constexpr int kAdvance = DOWN / 2;                                // steps from 8 outputs to the next 8
  static constexpr int kSums = kReach / kAdvance;                          // tiles of 8 outputs in progress
  static constexpr int kGroup = 16 * kAdvance;                             // samples that complete 8 outputs
  static constexpr int kBegin = (kSums - 1) * kGroup;                      // outputs before it are not the strip's
  static_assert(8 * DOWN == kGroup && kReach % kAdvance == 0, "");

  // For float16 images, the swept plane has a second part with what rounding takes away from the first, because three
  // roundings to float16 between input and output lose too much (docs/adr/0020).
  static constexpr int kSweptParts = kIsHalf<T> && MODE != SG3_APPLY_MASK ? 2 : 1;
  // Swept rows overwrite their upsampled inputs if there are at least as many inputs.
  static constexpr bool kSweepsInPlace = Tile::kNewColumns * kAdvance >= 8;
  // Samples with factor 1 and samples that the slope multiplies are downsampled by separate filters.
  static constexpr int kSampleParts = MODE == SG3_APPLY_MASK ? 2 : 1;
  static constexpr int kPairs = 4 / kAdvance;  // of output columns, per warp
  static constexpr int kMostOutputs = kPairs * 2 * kMmaWarps;

  static constexpr MmaRadial kRadial = MmaRadial::kNone;
  // Places of the filter matrices; those that downsample along y come first.
  static constexpr int kDownX = kReach, kUpY = kDownX + kSampleParts * kReach;
  static constexpr int kUpX = kUpY + 2 * Tile::kUpParts, kFilters = kUpX + 2;

  struct Sums {
    float at[kPairs][2][kSums][4];  // of each column of a pair, and of each tile of 8 rows
  };

  SG3_HD int num_stripes() const { return (ceil_div(Tile::output_rows(), 8) - 1) * kAdvance + kReach; }

  // All phases, for one thread.
  template <class Lane>
  SG3_HD void run(Lane& lane) const {
    const int first_row = Tile::first_input(p.y, Tile::first_sample_y());
    const int left = Tile::first_input(p.x, Tile::first_sample_x());
    const int stripes = num_stripes();

    Tile::load_first_rows(lane, first_row, left);
    make_filters(lane);
    Tile::make_gains(lane);
    lane.wait_copies();
    lane.sync();
    Sums sums = {};
    for (int stripe = 0; stripe < stripes; ++stripe) {
      const int row = first_row + stripe * Tile::kNewRows;
      Tile::load_words(lane, stripe);
      Tile::upsample_columns(lane, row, kUpY);
      Tile::make_line_gains(lane, stripe);
      if (MODE == SG3_APPLY_MASK) lane.wait_copies();
      lane.sync();
      if (stripe + 1 < stripes) Tile::load_rows(lane, row + 16, left);
      sweep_rows(lane, stripe);
      lane.sync();
      downsample_columns(lane, stripe, sums);
      lane.wait_copies();
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
    Tile::put_filters(lane, 0, kReach, [&](int f, int k, int n) { return Tile::down_tap(taps.down_y, f, k, n); });
    Tile::put_filters(lane, kDownX, kSampleParts * kReach,
                      [&](int f, int k, int n) { return Tile::down_tap(taps.down_x[f / kReach], f % kReach, k, n); });
  }

  template <class Lane>
  SG3_HD void sweep_rows(Lane& lane, int stripe) const {
    uint32_t up[2][2];
    SG3_UNROLL for (int n = 0; n < 2; ++n) Tile::get_filter(lane, kUpX + n, up[n]);
    sweep(lane, stripe, [&](auto inner, const auto& line, float (&z)[2][4]) {
      constexpr bool kInner = decltype(inner)::kValue;
      uint32_t a[4];
      lane.template load_matrices<4>(line.inputs, a);
      SG3_UNROLL for (int n = 0; n < 2; ++n) this->template upsample_row<kInner>(lane, line, n * 8, a, up[n], z[n]);
    });
  }

  // The pass along a warp's rows of the stripe. upsample(Flag<INNER>(), line, z) computes z of the next 16 samples.
  template <class Lane, class Upsample>
  SG3_HD void sweep(Lane& lane, int stripe, Upsample upsample) const {
    uint32_t down[kSampleParts][kReach][2];
    SG3_UNROLL for (int i = 0; i < kSampleParts * kReach; ++i) {
      Tile::get_filter(lane, kDownX + i, down[i / kReach][i % kReach]);
    }
    for (int index = lane.warp; index < 16; index += kMmaWarps) {
      auto line = Tile::line_at(lane, stripe, index);
      Vector8* out = swept_place(lane, index);
      float sums[kSums][4] = {};
      Tile::sweep_line(line, kGroup, kBegin, [&](auto inner, int end) {
        sweep_samples<decltype(inner)::kValue>(lane, &line, end, upsample, down, sums, &out);
      });
    }
  }

  // Advances to sample `end`, a multiple of kGroup. Every kGroup samples complete 8 outputs, for `out`.
  template <bool INNER, class Lane, class Line, class Upsample>
  SG3_HD void sweep_samples(Lane& lane, Line* line, int end, Upsample upsample,
                            const uint32_t (&down)[kSampleParts][kReach][2], float (&sums)[kSums][4],
                            Vector8** out) const {
    while (line->at < end) {
      SG3_UNROLL for (int s = 0; s < kAdvance; ++s) {
        float z[2][4];
        uint32_t samples[kSampleParts][4];
        upsample(Flag<INNER>(), *line, z);
        if constexpr (MODE == SG3_APPLY_MASK) {
          Tile::split(lane, *line, z, samples[0], samples[1]);
        } else {
          this->template activate<INNER>(lane, *line, z, samples[0]);
        }
        Tile::advance(line);
        // The oldest tile reads these samples with its last filter matrix.
        SG3_UNROLL for (int tile = 0; tile < kSums; ++tile) {
          SG3_UNROLL for (int part = 0; part < kSampleParts; ++part) {
            const auto& filter = down[part][(kSums - 1 - tile) * kAdvance + s];
            lane.template multiply_add<Inner>(samples[part], filter, sums[tile], sums[tile]);
          }
        }
      }
      if (INNER || line->at > kBegin) {
        put_swept(lane, sums[0], *out);
        *out += 16;
      }
      SG3_UNROLL for (int tile = 0; tile < kSums; ++tile) {
        SG3_UNROLL for (int i = 0; i < 4; ++i) sums[tile][i] = tile + 1 < kSums ? sums[tile + 1][i] : 0.f;
      }
    }
  }

  SG3_HD Vector8* swept_row(int part, int line) const { return shared + p.swept_at[part] + line * p.swept_pitch[part]; }

  // Returns the place where this lane stores vectors of a row's first 8 outputs.
  template <class Lane>
  SG3_HD Vector8* swept_place(const Lane& lane, int line) const {
    const int part = kSweptParts == 2 ? lane.lane / 16 : 0;
    return swept_row(part, line) + Tile::swizzled(lane.lane % 8, Tile::half_of(lane));
  }

  // Rounds 8 sums of a row. One more product, with the negative identity, gives the remainders.
  template <class Lane>
  SG3_HD void put_swept(Lane& lane, float (&c)[4], Vector8* place) const {
    uint32_t packed[2 * kSweptParts] = {pack_saturated<Inner>(c[0], c[1]), pack_saturated<Inner>(c[2], c[3])};
    if constexpr (kSweptParts == 2) {
      lane.multiply_add_8(packed[0], packed[1], minus_identity(lane.lane), c);
      packed[2] = pack<Inner>(c[0], c[1]);
      packed[3] = pack<Inner>(c[2], c[3]);
    }
    lane.template store_matrices<2 * kSweptParts>(packed, place);
  }

  // Adds a stripe to the sums of a warp's pairs of columns. Writes the oldest 8 rows if the stripe completes them.
  template <class Lane>
  SG3_HD void downsample_columns(Lane& lane, int stripe, Sums& sums) const {
    const int phase = stripe % kAdvance;
    uint32_t b[kSums][2];
    SG3_UNROLL for (int tile = 0; tile < kSums; ++tile) {
      Tile::get_filter(lane, (kSums - 1 - tile) * kAdvance + phase, b[tile]);
    }
    const bool complete = phase == kAdvance - 1;
    // For the outputs that this lane writes.
    const auto share = Tile::share_of(lane);
    const int first_row = (stripe / kAdvance - (kSums - 1)) * 8, odd = share.pixel % 2, line = share.pixel / 2;
    const int first_column = lane.warp * 2 + odd;
    const int end = Tile::left_channels(share.channel) > 0 ? p.x.out_size - strip * p.x.outputs - first_column : 0;
    const int rows = Tile::output_rows();
    const int two_lines = 2 * p.x.out_size * p.channels;
    const int to = Tile::output_at(first_row + line, first_column, share.channel);
    const Vector8* from[kSweptParts];  // of the first pair
    SG3_UNROLL for (int part = 0; part < kSweptParts; ++part) {
      from[part] = swept_row(part, Tile::position_of(lane)) + Tile::swizzled(lane.warp * 2, Tile::half_of(lane));
    }
    SG3_UNROLL for (int i = 0; i < kPairs; ++i) {
      const int distance = i * kMmaWarps * 2;
      if (lane.warp * 2 + distance >= p.x.outputs) continue;
      SG3_UNROLL for (int e = 0; e < 2; ++e) {
        auto& sum = sums.at[i][e];
        SG3_UNROLL for (int part = 0; part < kSweptParts; ++part) {
          uint32_t a[4];
          lane.template load_matrices<4>(from[part] + (distance + e) * 2, a);
          SG3_UNROLL for (int tile = 0; tile < kSums; ++tile) {
            lane.template multiply_add<Inner>(a, b[tile], sum[tile], sum[tile]);
          }
        }
        if (!complete) continue;
        Tile::put_outputs(lane, sum[0], e * 2);
        SG3_UNROLL for (int tile = 0; tile < kSums; ++tile) {
          SG3_UNROLL for (int j = 0; j < 4; ++j) sum[tile][j] = tile + 1 < kSums ? sum[tile + 1][j] : 0.f;
        }
      }
      if (!complete) continue;
      lane.sync_warp();
      const int pair = to + distance * p.channels;
      Tile::for_shared([&](auto aligned, int i) {
        if (distance < end && unsigned(first_row + line + i * 2) < unsigned(rows)) {
          this->template store_output<decltype(aligned)::kValue>(lane, odd * 2, line + i * 2, share.channel,
                                                                 pair + i * two_lines);
        }
      });
      lane.sync_warp();
    }
  }
};

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_FILTERED_LRELU_CUDA_MMA_BLOCK_H_
