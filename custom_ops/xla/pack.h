// Packs a problem into an array of integers, an attribute of a custom call: the bytes of the struct, then its taps.
// Nothing is rounded. The same library writes and reads it, so the compiler's layout of the struct suffices.

#ifndef SG3TF_CUSTOM_OPS_XLA_PACK_H_
#define SG3TF_CUSTOM_OPS_XLA_PACK_H_

#include <stdint.h>
#include <string.h>

#include <vector>

#include "custom_ops/filtered_lrelu/problem.h"
#include "custom_ops/upfirdn2d/problem.h"

namespace sg3 {

inline std::vector<Sg3Stage*> stages(Sg3Upfirdn2d& problem) { return {&problem.stage}; }
inline std::vector<Sg3Stage*> stages(Sg3FilteredLrelu& problem) { return {&problem.up, &problem.down}; }

template <class Problem>
std::vector<int64_t> pack(Problem problem) {
  static_assert(sizeof(Problem) % sizeof(int64_t) == 0 && sizeof(double) == sizeof(int64_t));
  std::vector<int64_t> words(sizeof(Problem) / sizeof(int64_t));
  auto append = [&words](const double* taps, int64_t count) {
    size_t end = words.size();
    words.resize(end + count);
    memcpy(words.data() + end, taps, count * sizeof(double));
  };
  for (Sg3Stage* stage : stages(problem)) {
    append(stage->taps_y, stage->terms * stage->y.taps);
    append(stage->taps_x, stage->terms * stage->x.taps);
    stage->taps_y = stage->taps_x = nullptr;
  }
  memcpy(words.data(), &problem, sizeof(Problem));
  return words;
}

// The result points into `words`.
template <class Problem>
Problem unpack(const int64_t* words) {
  Problem problem;
  memcpy(&problem, words, sizeof(Problem));
  auto taps = reinterpret_cast<const double*>(words + sizeof(Problem) / sizeof(int64_t));
  for (Sg3Stage* stage : stages(problem)) {
    stage->taps_y = taps;
    stage->taps_x = taps + stage->terms * stage->y.taps;
    taps = stage->taps_x + stage->terms * stage->x.taps;
  }
  return problem;
}

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_XLA_PACK_H_
