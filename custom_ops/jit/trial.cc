#include "custom_ops/jit/trial.h"

#include <dlfcn.h>
#include <stdlib.h>

#include <algorithm>
#include <limits>
#include <type_traits>

#include "custom_ops/jit/kernels.h"

namespace sg3::jit {
namespace {

constexpr int kRounds = 3;
// Per round, so that the device stays busy while the host plans the next launch. Planning takes a few microseconds, as
// long as a kernel.
constexpr int kLaunches = 8;

using Event = struct EventHandle*;

// Driver functions that only trials need. Pointers stand in for CUdeviceptr, which has the same size. None waits for
// other streams: cuMemFree would wait for all work on the device and on its peers, including a collective operation
// that waits for this device.
struct TrialDriver {
  int (*cuMemAllocAsync)(void** memory, size_t bytes, Stream stream);
  int (*cuMemFreeAsync)(void* memory, Stream stream);
  int (*cuMemcpyHtoDAsync)(void* to, const void* from, size_t bytes, Stream stream);
  int (*cuMemcpyDtoHAsync)(void* to, const void* from, size_t bytes, Stream stream);
  int (*cuStreamSynchronize)(Stream stream);
  int (*cuEventCreate)(Event* event, unsigned flags);
  int (*cuEventRecord)(Event event, Stream stream);
  int (*cuEventElapsedTime)(float* milliseconds, Event start, Event end);
  int (*cuEventDestroy)(Event event);
  bool complete = true;

  TrialDriver() {
    const char* file = getenv("SG3TF_LIBCUDA");
    void* library = dlopen(file ? file : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    const auto find = [&](auto* function, const char* name) {
      *function = library ? reinterpret_cast<std::decay_t<decltype(*function)>>(dlsym(library, name)) : nullptr;
      complete = complete && *function;
    };
    find(&cuMemAllocAsync, "cuMemAllocAsync");
    find(&cuMemFreeAsync, "cuMemFreeAsync");
    find(&cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2");
    find(&cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2");
    find(&cuStreamSynchronize, "cuStreamSynchronize");
    find(&cuEventCreate, "cuEventCreate");
    find(&cuEventRecord, "cuEventRecord");
    find(&cuEventElapsedTime, "cuEventElapsedTime");
    find(&cuEventDestroy, "cuEventDestroy_v2");
  }
};

const TrialDriver& trial_driver() {
  static const TrialDriver driver;
  return driver;
}

}  // namespace

Trial::Trial(Stream stream) : stream_(stream) {
  const Driver* driver = find_driver(&failure_);
  if (!driver) return;
  if (!trial_driver().complete) {
    failure_ = "the NVIDIA driver lacks a function";
    return;
  }
  pushed_ = check("cuStreamGetCtx", driver->cuStreamGetCtx(stream, &context_)) &&
            check("cuCtxPushCurrent", driver->cuCtxPushCurrent(context_));
}

Trial::~Trial() {
  for (void* memory : memory_) trial_driver().cuMemFreeAsync(memory, stream_);
  std::string ignored;
  Context popped;
  if (pushed_) find_driver(&ignored)->cuCtxPopCurrent(&popped);
}

bool Trial::check(const char* what, int result) {
  if (result == kSuccess || !failure_.empty()) return failure_.empty();
  failure_ = std::string(what) + " returned " + std::to_string(result);
  out_of_memory_ = result == kOutOfMemory;
  return false;
}

void* Trial::allocate(size_t bytes, const void* from) {
  void* memory = nullptr;
  if (!failure_.empty()) return nullptr;
  if (!check("cuMemAllocAsync", trial_driver().cuMemAllocAsync(&memory, bytes, stream_))) return nullptr;
  memory_.push_back(memory);
  // Copies on the stream, because its kernels do not wait for copies elsewhere, and waits for the end, because the
  // caller may free `from`.
  if (from && check("cuMemcpyHtoDAsync", trial_driver().cuMemcpyHtoDAsync(memory, from, bytes, stream_))) {
    check("cuStreamSynchronize", trial_driver().cuStreamSynchronize(stream_));
  }
  return memory;
}

void Trial::read(const void* from, size_t bytes, void* to) {
  if (failure_.empty() && check("cuMemcpyDtoHAsync", trial_driver().cuMemcpyDtoHAsync(to, from, bytes, stream_))) {
    check("cuStreamSynchronize", trial_driver().cuStreamSynchronize(stream_));
  }
}

double Trial::milliseconds(const std::function<int()>& launch) {
  const TrialDriver& driver = trial_driver();
  float shortest = std::numeric_limits<float>::infinity();
  for (int i = 0; i <= kRounds && failure_.empty(); ++i) {
    Event start = nullptr, end = nullptr;
    if (!check("cuEventCreate", driver.cuEventCreate(&start, 0))) break;
    if (check("cuEventCreate", driver.cuEventCreate(&end, 0)) &&
        check("cuEventRecord", driver.cuEventRecord(start, stream_))) {
      for (int k = 0; k < kLaunches && failure_.empty(); ++k) {
        if (const int result = launch()) check(sg3_cuda_message(result), result);
      }
      float time = 0;
      if (check("cuEventRecord", driver.cuEventRecord(end, stream_)) &&
          check("cuStreamSynchronize", driver.cuStreamSynchronize(stream_)) &&
          check("cuEventElapsedTime", driver.cuEventElapsedTime(&time, start, end)) && i > 0) {
        shortest = std::min(shortest, time / kLaunches);
      }
      driver.cuEventDestroy(end);
    }
    driver.cuEventDestroy(start);
  }
  return shortest;
}

}  // namespace sg3::jit
