// 3x3 convolutions on the CPU.

#ifndef SG3TF_CUSTOM_OPS_CONV3X3_CPU_H_
#define SG3TF_CUSTOM_OPS_CONV3X3_CPU_H_

#include <algorithm>

#include "custom_ops/conv3x3/job.h"
#include "custom_ops/resampling/cpu/scratch.h"

namespace sg3 {

// Call transform_kernel for all input channels, and after that run for all tiles, both from any threads and in any
// order. Results do not depend on the number of threads.
class Conv3x3Cpu {
 public:
  Conv3x3Cpu(const Conv3x3& conv, int threads) : conv_(conv) {
    const int64_t count = conv.batch * ((conv.out_height() + 1) / 2) * ((conv.out_width() + 1) / 2);
    // A block's transformed tiles should stay in the second-level cache. With several blocks per thread, all threads
    // finish at about the same time.
    constexpr int64_t kFloats = 1 << 18, kGroup = 8, kMost = 48, kBlocksPerThread = 4;
    const int64_t fitting = kFloats / (kPositions * std::max<int64_t>(conv.in_channels, 1));
    const int64_t share = count / (kBlocksPerThread * threads);
    const int64_t block = std::clamp(std::min(fitting, share), kGroup, kMost);
    tiling_ = {count, block / kGroup * kGroup};
  }

  // Size of the transformed kernels in floats. The memory must be aligned to 64 bytes.
  int64_t transformed_size() const { return layout().size(); }

  void transform_kernel(const float* kernel, float* transformed, int64_t first, int64_t last) const {
    const KernelTransformJob job = {layout(), kernel, transformed};
    SG3_CALL_FOR_ISA(transform_kernel, job, first, last);
  }
  double transform_cycles() const { return 3.0 * layout().padded(); }

  int64_t tiles() const { return tiling_.tiles(); }
  double tile_cycles() const {
    return 0.6 * static_cast<double>(tiling_.block) * static_cast<double>(conv_.in_channels * layout().padded());
  }

  // `transformed` is the output of transform_kernel.
  void run(int64_t first, int64_t last, const float* transformed, const Conv3x3Arrays& arrays) const {
    const WinogradJob job = {tiling_, conv_, arrays, transformed};
    const int64_t size = SG3_CALL_FOR_ISA(scratch_size, job);
    Scratch scratch(static_cast<size_t>(size) * sizeof(float));
    SG3_CALL_FOR_ISA(run_blocks, job, first, last, static_cast<float*>(scratch.get()));
  }

 private:
  KernelLayout layout() const { return {conv_.in_channels, conv_.out_channels}; }

  Conv3x3 conv_;
  BlockTiling tiling_;
};

// The gradient with respect to the kernel, for images x and the gradient with respect to the outputs, dy. Call run for
// all units, and after that sum for all input channels, as above.
class Conv3x3KernelGradientCpu {
 public:
  explicit Conv3x3KernelGradientCpu(const Conv3x3& conv) : conv_(conv) {
    const int64_t count = conv.batch * ((conv.out_height() + 1) / 2) * ((conv.out_width() + 1) / 2);
    tiling_ = {{conv.in_channels, conv.out_channels}, 1, count};
    // If there are few units, divides the tiles into slices for several threads to share, unless slices would be small.
    constexpr int64_t kUnits = 16, kMost = 8, kTiles = 256;
    const int64_t units = std::max<int64_t>(tiling_.tiles(), 1);
    tiling_.slices = std::clamp<int64_t>(std::min(kUnits / units, count / kTiles), 1, kMost);
    tiling_.slice_tiles = (count + tiling_.slices - 1) / tiling_.slices;
  }

  // Size of the sums of all slices in floats. The memory must be aligned to 64 bytes.
  int64_t sums_size() const { return tiling_.slices * tiling_.layout.size(); }

  int64_t tiles() const { return tiling_.tiles(); }
  double tile_cycles() const {
    return 0.6 * static_cast<double>(tiling_.slice_tiles) * (KernelGradientTiling::kInputs * kPanel);
  }

  void run(int64_t first, int64_t last, const float* x, const float* dy, const Conv3x3Scales& scales,
           float* sums) const {
    const KernelGradientJob job = {tiling_, conv_, x, dy, scales, sums};
    const int64_t size = SG3_CALL_FOR_ISA(scratch_size, job);
    Scratch scratch(static_cast<size_t>(size) * sizeof(float));
    SG3_CALL_FOR_ISA(run_units, job, first, last, static_cast<float*>(scratch.get()));
  }

  // Writes the gradient [3, 3, in_channels, out_channels] of input channels [first, last).
  void sum(int64_t first, int64_t last, const float* sums, float* gradient) const {
    const KernelGradientSumJob job = {tiling_, sums, gradient};
    SG3_CALL_FOR_ISA(sum_slices, job, first, last);
  }
  double sum_cycles() const { return static_cast<double>((3 + tiling_.slices) * tiling_.layout.padded()); }

 private:
  Conv3x3 conv_;
  KernelGradientTiling tiling_;
};

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_CONV3X3_CPU_H_
