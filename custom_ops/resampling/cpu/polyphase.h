// The taps of one axis, grouped by the phase of the output sample, so that inserted zeros are never multiplied.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CPU_POLYPHASE_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CPU_POLYPHASE_H_

#include <stdint.h>

#include <vector>

#include "custom_ops/resampling/stage.h"

namespace sg3 {

// Plain data for the kernels. Output o has phase k = (before - o * down) mod up, which is the first tap that meets an
// input sample. It reads `counts[k]` consecutive samples starting at (o * down + k - before) / up.
// Always inlined, because kernels for different instruction sets must not share code.
template <class Scalar>
struct PolyphaseView {
  int64_t up, down, before, in_size, out_size;
  int64_t terms, max_taps;  // max_taps: the greatest of the counts
  const int64_t* counts;    // [up]
  const Scalar* taps;       // [up, terms, max_taps]

  SG3_INLINE int64_t phase(int64_t output) const {
    int64_t remainder = (before - output * down) % up;
    return remainder < 0 ? remainder + up : remainder;
  }
  SG3_INLINE int64_t first(int64_t output) const { return (output * down + phase(output) - before) / up; }
  SG3_INLINE const Scalar* taps_of(int64_t phase) const { return taps + phase * terms * max_taps; }
};

class Polyphase {
 public:
  Polyphase(const Sg3Axis& axis, int64_t terms, const double* taps);

  template <class Scalar>
  PolyphaseView<Scalar> view() const;

 private:
  Sg3Axis axis_;
  int64_t terms_, max_taps_;
  std::vector<int64_t> counts_;
  std::vector<float> floats_;
  std::vector<double> doubles_;
};

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CPU_POLYPHASE_H_
