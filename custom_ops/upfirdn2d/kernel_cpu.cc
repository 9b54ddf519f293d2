// The CPU kernel of upfirdn2d, compiled once per instruction set (SG3_ISA). No standard headers: see cpu/simd.h.

#include "custom_ops/resampling/cpu/kernel.h"
#include "custom_ops/upfirdn2d/job.h"

namespace sg3::SG3_ISA {
namespace {

template <class T>
struct TileKernel {
  using Scalar = typename Arithmetic<T>::Scalar;
  using Lanes = typename Arithmetic<T>::Lanes;
  using Job = Upfirdn2dJob<Scalar>;

  static int64_t scratch_size(const Job& job) { return Rows<T>::scratch_size(job.y, job.x, job.tiling.tile_width); }

  static void run(const Job& job, const Tile& tile, void* scratch) {
    Channels<T> image = channels_of<T>(job.in, nullptr, job.tiling, tile, job.y.in_size * job.x.in_size);
    int64_t out_size = job.y.out_size * job.x.out_size;
    T* out = static_cast<T*>(job.out) + tile.image * out_size * image.stride + tile.block * kLanes;
    Rows<T> rows(image, job.y, job.x, tile.x_begin, tile.x_end, static_cast<Scalar*>(scratch));
    for (int64_t row = tile.y_begin; row < tile.y_end; ++row) {
      T* to = out + row * job.x.out_size * image.stride;
      rows.template compute_row<Case<6, 1>, Case<12, 1>, Case<12, 2>>(
          row, [&](int64_t column, Lanes sum) { store_channels(to + column * image.stride, sum, image.count); });
    }
  }
};

}  // namespace

SG3_DEFINE_KERNEL(Upfirdn2dJob, TileKernel)

}  // namespace sg3::SG3_ISA
