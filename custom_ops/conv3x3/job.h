// Plain data for the CPU kernels of the convolution.

#ifndef SG3TF_CUSTOM_OPS_CONV3X3_JOB_H_
#define SG3TF_CUSTOM_OPS_CONV3X3_JOB_H_

#include "custom_ops/conv3x3/problem.h"
#include "custom_ops/resampling/cpu/isa.h"

namespace sg3 {

constexpr int64_t kPositions = 16;  // of a transformed tile of 4x4 pixels
constexpr int64_t kPanel = 48;      // output channels multiplied together

// Transformed kernels: [panels][16][in_channels][width of the panel].
struct KernelLayout {
  int64_t in_channels, out_channels;

  // Output channels, rounded up to whole vectors of sixteen.
  SG3_INLINE int64_t padded() const { return (out_channels + 15) / 16 * 16; }
  SG3_INLINE int64_t panels() const { return (padded() + kPanel - 1) / kPanel; }
  SG3_INLINE int64_t width(int64_t panel) const {
    const int64_t left = padded() - panel * kPanel;
    return left < kPanel ? left : kPanel;
  }
  SG3_INLINE int64_t offset(int64_t panel) const { return panel * kPanel * kPositions * in_channels; }
  SG3_INLINE int64_t size() const { return padded() * kPositions * in_channels; }
};

struct KernelTransformJob {
  KernelLayout layout;
  const float* kernel;
  float* transformed;
};

// A block of tiles of 2x2 outputs, numbered across the batch.
struct BlockTile {
  int64_t begin, end;
};

struct BlockTiling {
  int64_t count, block;  // 2x2 tiles in all, and in a block

  SG3_INLINE int64_t tiles() const { return (count + block - 1) / block; }
  SG3_INLINE BlockTile tile(int64_t index) const {
    const int64_t begin = index * block, end = begin + block;
    return {begin, end < count ? end : count};
  }
};

// Scratch memory is in floats.
struct WinogradJob {
  BlockTiling tiling;
  Conv3x3 conv;
  Conv3x3Arrays arrays;
  const float* transformed;
};

// The gradient with respect to the kernel is computed in units: a range of input channels, a panel of output channels,
// and a slice of the tiles. The sums of the slices are added up afterwards. The division depends on the problem alone,
// and so do the results.
struct KernelGradientUnit {
  int64_t slice, in_begin, in_end, panel;
};

struct KernelGradientTiling {
  static constexpr int64_t kInputs = 64;

  KernelLayout layout;
  int64_t slices, slice_tiles;  // 2x2 tiles of a slice

  SG3_INLINE int64_t groups() const { return (layout.in_channels + kInputs - 1) / kInputs; }
  SG3_INLINE int64_t tiles() const { return slices * groups() * layout.panels(); }
  SG3_INLINE KernelGradientUnit tile(int64_t index) const {
    const int64_t begin = index / layout.panels() % groups() * kInputs, end = begin + kInputs;
    return {index / layout.panels() / groups(), begin, end < layout.in_channels ? end : layout.in_channels,
            index % layout.panels()};
  }
};

struct KernelGradientJob {
  KernelGradientTiling tiling;
  Conv3x3 conv;
  const float *x, *dy;
  Conv3x3Scales scales;  // of x and dy
  float* sums;           // of every slice, in KernelLayout
};

// Adds up the slices and transforms the result: kernel gradients [3, 3, in_channels, out_channels].
struct KernelGradientSumJob {
  KernelGradientTiling tiling;
  const float* sums;
  float* gradient;
};

#define SG3_DECLARE_CONV3X3_FOR(isa)                                                         \
  namespace isa {                                                                            \
  void transform_kernel(const KernelTransformJob& job, int64_t first, int64_t last);         \
  int64_t scratch_size(const WinogradJob& job);                                              \
  void run_blocks(const WinogradJob& job, int64_t first, int64_t last, float* scratch);      \
  int64_t scratch_size(const KernelGradientJob& job);                                        \
  void run_units(const KernelGradientJob& job, int64_t first, int64_t last, float* scratch); \
  void sum_slices(const KernelGradientSumJob& job, int64_t first, int64_t last);             \
  }
SG3_DECLARE_CONV3X3_FOR(baseline)
#if defined(__x86_64__)
SG3_DECLARE_CONV3X3_FOR(avx2)
SG3_DECLARE_CONV3X3_FOR(avx512)
#endif

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_CONV3X3_JOB_H_
