// What the planning of tiles, which is plain C++, must know of a device and of problems.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_LIMITS_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_LIMITS_H_

#include "custom_ops/resampling/cuda_tile.h"

namespace sg3::cuda {

// Bytes of shared memory.
struct SharedLimits {
  int64_t block;  // at most for one block
  int64_t pair;   // for each of two blocks on one multiprocessor
};

// A multiprocessor works on two blocks, or on one of twice the threads where shared memory has no room for two. That
// one cannot hide the latency of its loads and barriers behind another's arithmetic. A guess, to be measured.
constexpr double kCostOfSolitude = 1.15;

// What a thread could multiply while it waits at a barrier for the others. Likewise a guess.
constexpr double kCostOfBarrier = 50;

inline int threads_of_block(int64_t shared_floats, const SharedLimits& limits) {
  return shared_floats * 4 > limits.pair ? kMaxThreads : kMaxThreads / 2;
}

// The multiprocessor's time for blocks that have phases of `tasks` that take `work` multiplications each.
class Cost {
 public:
  explicit Cost(int threads) : threads_(threads) {}

  void add(int tasks, double work, int times = 1) {
    sum_ += times * (kCostOfBarrier + ceil_div(tasks, threads_) * work);
  }

  double of(int64_t blocks) const {
    return sum_ * double(threads_) * double(blocks) * (threads_ == kMaxThreads ? kCostOfSolitude : 1);
  }

 private:
  int threads_;
  double sum_ = 0;
};

// Sides of tiles to be tried, in outputs.
constexpr int kTileSides[] = {1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64};

// `size` outputs in equal tiles of about `side`, of whole `unit`s.
inline int even_tile(int size, int side, int unit) {
  const int each = ceil_div(size, ceil_div(size, side));
  return ceil_div(each, unit) * unit;
}

// Whether all positions along the axis can be computed in 32 bits.
inline bool is_representable(const Sg3Axis& axis) {
  const int64_t most = int64_t(1) << 29;
  return axis.up >= 1 && axis.down >= 1 && axis.taps >= 1 && axis.in_size >= 0 && axis.out_size >= 0 &&
         axis.up < 1 << 15 && axis.down < 1 << 15 && axis.taps < 1 << 15 && axis.in_size * axis.up < most &&
         axis.out_size * axis.down < most && axis.before > -most && axis.before < most;
}

inline bool is_representable(const Sg3Stage& stage) {
  const auto has_few_taps = [&](const Sg3Axis& axis) {
    return stage.terms * (axis.taps + axis.up + axis.down) < 1 << 20;  // also when padded
  };
  return is_representable(stage.y) && is_representable(stage.x) && stage.terms >= 1 && stage.terms < 1 << 15 &&
         has_few_taps(stage.y) && has_few_taps(stage.x);
}

// Appends `terms` filters to `taps` as float32: `shift` zeros in front, and zeros behind up to `padded` taps.
inline float* append_taps(const double* from, int64_t terms, int64_t taps, int shift, int padded, float* to) {
  for (int64_t term = 0; term < terms; ++term, to += padded) {
    for (int k = 0; k < padded; ++k) {
      to[k] = k >= shift && k - shift < taps ? float(from[term * taps + k - shift]) : 0.f;
    }
  }
  return to;
}

inline bool is_aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

inline bool is_supported(int type) { return type == SG3_FLOAT32 || type == SG3_FLOAT16 || type == SG3_BFLOAT16; }

inline int bytes_of(int type) { return type == SG3_FLOAT32 ? 4 : 2; }

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CUDA_LIMITS_H_
