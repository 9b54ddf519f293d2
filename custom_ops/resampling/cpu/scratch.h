// Working memory for a thread.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_CPU_SCRATCH_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_CPU_SCRATCH_H_

#include <stdlib.h>

#include <new>

namespace sg3 {

// Aligned and uninitialized; one allocation per thread and call.
class Scratch {
 public:
  explicit Scratch(size_t bytes) : memory_(aligned_alloc(kAlignment, (bytes / kAlignment + 1) * kAlignment)) {
    if (memory_ == nullptr) throw std::bad_alloc();
  }
  ~Scratch() { free(memory_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void* get() const { return memory_; }

 private:
  static constexpr size_t kAlignment = 128;
  void* memory_;
};

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_CPU_SCRATCH_H_
