// Planning of tiles, in plain C++: the limits of a device, the cost of a tile, and the choice of the cheapest.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_PLAN_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_PLAN_H_

#include <limits>

#include "custom_ops/resampling/cuda/tile.h"

namespace sg3::cuda {

struct SharedLimits {
  int64_t block;  // the most bytes of shared memory for one block
  int64_t pair;   // for each of two blocks on one multiprocessor
  int multiprocessors;
};

// A multiprocessor runs two blocks, or one with twice the threads if shared memory has no room for two. A single block
// cannot hide the latency of its loads and barriers behind the arithmetic of another. A guess, to be measured.
constexpr double kSingleBlockPenalty = 1.15;

// Multiplications that a thread could do in the time of a barrier. Also a guess.
constexpr double kBarrierCost = 50;

inline int threads_of_block(int64_t shared_floats, const SharedLimits& limits) {
  return shared_floats * 4 > limits.pair ? kMaxThreads : kMaxThreads / 2;
}

// The time that a multiprocessor spends on blocks whose phases have `tasks` tasks of `work` multiplications each.
class Cost {
 public:
  explicit Cost(int threads) : threads_(threads) {}

  void add(int tasks, double work, int times = 1) { sum_ += times * (kBarrierCost + ceil_div(tasks, threads_) * work); }

  double of(int64_t blocks) const {
    return sum_ * double(threads_) * double(blocks) * (threads_ == kMaxThreads ? kSingleBlockPenalty : 1);
  }

 private:
  int threads_;
  double sum_ = 0;
};

// The sides of tiles to try, in outputs.
constexpr int kTileSides[] = {1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64};

// Returns the side of equal tiles of about `side` outputs, a multiple of `unit`, for `size` outputs.
inline int even_tile(int size, int side, int unit) {
  const int each = ceil_div(size, ceil_div(size, side));
  return ceil_div(each, unit) * unit;
}

// Returns true if all positions along the axis fit into 32 bits.
inline bool is_representable(const Sg3Axis& axis) {
  const int64_t limit = int64_t(1) << 29;
  return axis.up >= 1 && axis.down >= 1 && axis.taps >= 1 && axis.in_size >= 0 && axis.out_size >= 0 &&
         axis.up < 1 << 15 && axis.down < 1 << 15 && axis.taps < 1 << 15 && axis.in_size * axis.up < limit &&
         axis.out_size * axis.down < limit && axis.before > -limit && axis.before < limit;
}

inline bool is_representable(const Sg3Stage& stage) {
  const auto has_few_taps = [&](const Sg3Axis& axis) {
    return stage.terms * (axis.taps + axis.up + axis.down) < 1 << 20;  // also when padded
  };
  return is_representable(stage.y) && is_representable(stage.x) && stage.terms >= 1 && stage.terms < 1 << 15 &&
         has_few_taps(stage.y) && has_few_taps(stage.x);
}

// Appends `terms` filters to `to` as float32, with `shift` zeros in front and zeros after it, up to `padded` taps.
inline float* append_taps(const double* from, int64_t terms, int64_t taps, int shift, int padded, float* to) {
  for (int64_t term = 0; term < terms; ++term, to += padded) {
    for (int k = 0; k < padded; ++k) {
      to[k] = k >= shift && k - shift < taps ? float(from[term * taps + k - shift]) : 0.f;
    }
  }
  return to;
}

// Gives the plan the cheapest tiles whose planes fit into shared memory; returns false if none do. set_height(plan,
// side) and set_width(plan, side) give a plan tiles of about this size; the latter also lays out shared memory.
template <class Plan, class SetHeight, class SetWidth>
bool choose_cheapest_tiles(Plan* plan, const SharedLimits& limits, SetHeight set_height, SetWidth set_width,
                           double (*cost_of)(const Plan&)) {
  double least = std::numeric_limits<double>::infinity();
  Plan p = *plan;
  for (const int height : kTileSides) {
    set_height(&p, height);
    for (const int width : kTileSides) {
      set_width(&p, width);
      if (p.shared_floats * 4 > limits.block) break;  // wider ones need more
      p.threads = threads_of_block(p.shared_floats, limits);
      const double cost = cost_of(p);
      if (cost < least) {
        least = cost;
        *plan = p;
      }
    }
  }
  return least < std::numeric_limits<double>::infinity();
}

inline bool is_aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

inline bool is_supported(int type) { return type == SG3_FLOAT32 || type == SG3_FLOAT16 || type == SG3_BFLOAT16; }

inline int bytes_of(int type) { return type == SG3_FLOAT32 ? 4 : 2; }

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_PLAN_H_
