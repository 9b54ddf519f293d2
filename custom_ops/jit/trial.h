// Device memory and timing, to try out a kernel before it is used.

#ifndef SG3TF_CUSTOM_OPS_JIT_TRIAL_H_
#define SG3TF_CUSTOM_OPS_JIT_TRIAL_H_

#include <functional>
#include <string>
#include <vector>

#include "custom_ops/jit/driver.h"

namespace sg3::jit {

// Works on a stream, in its context, until destroyed. After the first failure, all calls do nothing.
class Trial {
 public:
  explicit Trial(Stream stream);
  Trial(const Trial&) = delete;
  ~Trial();

  // Returns a message about the first failure, or an empty string.
  const std::string& failure() const { return failure_; }

  // Returns true if memory was short, which may be temporary.
  bool out_of_memory() const { return out_of_memory_; }

  // Returns the stream's context.
  Context context() const { return context_; }

  // Returns memory that is freed with this object. Copies `bytes` bytes from `from` into it, unless that is null.
  void* allocate(size_t bytes, const void* from = nullptr);

  // Waits for the stream, and copies from the device.
  void read(const void* from, size_t bytes, void* to);

  // Returns the shortest time of a launch in several rounds, after a warm-up round; launch() returns a Result.
  double milliseconds(const std::function<int()>& launch);

 private:
  bool check(const char* what, int result);

  Stream stream_;
  Context context_ = nullptr;
  bool pushed_ = false;
  std::vector<void*> memory_;
  std::string failure_;
  bool out_of_memory_ = false;
};

}  // namespace sg3::jit

#endif  // SG3TF_CUSTOM_OPS_JIT_TRIAL_H_
