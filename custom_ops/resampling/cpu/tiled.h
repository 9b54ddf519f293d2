// The CPU side of an operation, divided into tiles that any number of threads may share.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CPU_TILED_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CPU_TILED_H_

#include "custom_ops/resampling/cpu/scratch.h"
#include "custom_ops/resampling/stage.h"

namespace sg3 {

// `Operation` is constructed from a problem and keeps only copies of it. It has the types Problem and Arrays, and the
// const functions
//   Tiles tiles(int threads)                                     tiles for about this many threads, such as a Tiling;
//   double cycles(const Tiles&)                                  an estimate of the work of one tile;
//   Job<Scalar> job<Scalar>(const Tiles&, const Arrays& arrays)  plain data for the kernels.
// cpu/isa.h declares the kernels of a job.
template <class Operation>
class Tiled {
 public:
  using Problem = typename Operation::Problem;
  using Arrays = typename Operation::Arrays;

  // What `problem` points to need not outlive this call.
  Tiled(const Problem& problem, Sg3Type type, int threads)
      : operation_(problem), type_(type), tiling_(operation_.tiles(threads)) {}

  int64_t tiles() const { return tiling_.tiles(); }
  int64_t tile_cycles() const { return static_cast<int64_t>(1 + operation_.cycles(tiling_)); }

  // Computes tiles [first, last). Call it once for each tile, from any threads and in any order.
  void run(int64_t first, int64_t last, const Arrays& arrays) const {
    type_ == SG3_FLOAT64 ? run_in<double>(first, last, arrays) : run_in<float>(first, last, arrays);
  }

 private:
  template <class Scalar>
  void run_in(int64_t first, int64_t last, const Arrays& arrays) const {
    const auto job = operation_.template job<Scalar>(tiling_, arrays);
    Scratch scratch(scratch_size(job) * sizeof(Scalar));
    run_tiles(job, type_, first, last, scratch.get());
  }

  Operation operation_;
  Sg3Type type_;
  decltype(operation_.tiles(1)) tiling_;
};

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CPU_TILED_H_
