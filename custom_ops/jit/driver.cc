#include "custom_ops/jit/driver.h"

#include <dlfcn.h>
#include <stdlib.h>

namespace sg3::jit {
namespace {

struct Found {
  Driver driver = {};
  std::string reason;  // empty if found

  Found() {
    const char* file = getenv("SG3TF_LIBCUDA");
    void* library = dlopen(file ? file : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      reason = std::string("no NVIDIA driver (") + dlerror() + ")";
      return;
    }
    const auto find = [&](auto* function, const char* name) {
      *function = reinterpret_cast<std::decay_t<decltype(*function)>>(dlsym(library, name));
      if (!*function) reason = std::string("the NVIDIA driver has no function ") + name;
    };
    find(&driver.cuDriverGetVersion, "cuDriverGetVersion");
    find(&driver.cuGetErrorName, "cuGetErrorName");
    find(&driver.cuStreamGetCtx, "cuStreamGetCtx");
    find(&driver.cuCtxPushCurrent, "cuCtxPushCurrent_v2");
    find(&driver.cuCtxPopCurrent, "cuCtxPopCurrent_v2");
    find(&driver.cuCtxGetDevice, "cuCtxGetDevice");
    find(&driver.cuDeviceGetAttribute, "cuDeviceGetAttribute");
    find(&driver.cuModuleLoadData, "cuModuleLoadData");
    find(&driver.cuModuleGetFunction, "cuModuleGetFunction");
    find(&driver.cuFuncSetAttribute, "cuFuncSetAttribute");
    find(&driver.cuLaunchKernel, "cuLaunchKernel");
    if (reason.empty()) driver.cuDriverGetVersion(&driver.version);
  }
};

}  // namespace

const Driver* find_driver(std::string* reason) {
  static const Found found;
  *reason = found.reason;
  return found.reason.empty() ? &found.driver : nullptr;
}

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace sg3::jit
