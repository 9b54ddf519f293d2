// The kernel, compiled once per instruction set (SG3_ISA). See resampling/simd.h for what not to include.

#include "custom_ops/resampling/rows.h"
#include "custom_ops/upfirdn2d/cpu.h"

namespace sg3::SG3_ISA {
namespace {

template <class T>
using JobOf = Upfirdn2dJob<typename Arithmetic<T>::Scalar>;

template <class T>
void run_tile(const JobOf<T>& job, const Tile& tile, void* scratch) {
  using Lanes = typename Arithmetic<T>::Lanes;
  Channels<T> image = channels_of<T>(job.in, nullptr, job.tiling, tile, job.y.in_size * job.x.in_size);
  T* out = static_cast<T*>(job.out) + tile.image * job.y.out_size * job.x.out_size * image.stride + tile.block * kLanes;
  Rows<T> rows(image, job.y, job.x, tile.x_begin, tile.x_end, static_cast<typename Arithmetic<T>::Scalar*>(scratch));
  for (int64_t row = tile.y_begin; row < tile.y_end; ++row) {
    T* to = out + row * job.x.out_size * image.stride;
    rows.produce(row, [&](int64_t column, Lanes sum) { store_channels(to + column * image.stride, sum, image.count); });
  }
}

template <class T>
void run_tiles(const JobOf<T>& job, int64_t first, int64_t last, void* scratch) {
  for (int64_t i = first; i < last; ++i) run_tile<T>(job, job.tiling.tile(i), scratch);
}

}  // namespace

int64_t scratch_size(const Upfirdn2dJob<float>& job) {
  return Rows<float>::scratch(job.y, job.x, job.tiling.tile_width);
}

int64_t scratch_size(const Upfirdn2dJob<double>& job) {
  return Rows<double>::scratch(job.y, job.x, job.tiling.tile_width);
}

void run(const Upfirdn2dJob<float>& job, Sg3Type type, int64_t first, int64_t last, void* scratch) {
  if (type == SG3_FLOAT32) run_tiles<float>(job, first, last, scratch);
  if (type == SG3_FLOAT16) run_tiles<Half>(job, first, last, scratch);
  if (type == SG3_BFLOAT16) run_tiles<BFloat16>(job, first, last, scratch);
}

void run(const Upfirdn2dJob<double>& job, Sg3Type, int64_t first, int64_t last, void* scratch) {
  run_tiles<double>(job, first, last, scratch);
}

}  // namespace sg3::SG3_ISA
