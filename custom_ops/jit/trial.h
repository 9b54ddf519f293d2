// Device memory and times, for a kernel that is tried out before it is used.

#ifndef SG3TF_CUSTOM_OPS_JIT_TRIAL_H_
#define SG3TF_CUSTOM_OPS_JIT_TRIAL_H_

#include <functional>
#include <string>
#include <vector>

#include "custom_ops/jit/driver.h"

namespace sg3::jit {

// Works on a stream, in its context, until destroyed. After the first failure nothing happens anymore.
class Trial {
 public:
  explicit Trial(Stream stream);
  Trial(const Trial&) = delete;
  ~Trial();

  // A sentence about the first failure, or nothing.
  const std::string& failure() const { return failure_; }

  // The stream's context.
  Context context() const { return context_; }

  // Memory that is freed with this object, holding `bytes` bytes from `from`, or from nowhere.
  void* allocate(size_t bytes, const void* from = nullptr);

  // Waits for the stream, and copies from the device.
  void read(const void* from, size_t bytes, void* to);

  // The shortest time of a launch in several rounds, after one that does not count; launch() returns a Result.
  double milliseconds(const std::function<int()>& launch);

 private:
  bool check(const char* what, int result);

  Stream stream_;
  Context context_ = nullptr;
  bool pushed_ = false;
  std::vector<void*> memory_;
  std::string failure_;
};

}  // namespace sg3::jit

#endif  // SG3TF_CUSTOM_OPS_JIT_TRIAL_H_
