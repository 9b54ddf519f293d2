#include "custom_ops/jit/kernels.h"

#include <stdio.h>

#include <chrono>
#include <map>
#include <mutex>

#include "custom_ops/jit/compiler.h"
#include "custom_ops/jit/disk_cache.h"
#include "custom_ops/jit/sources.h"

namespace sg3::jit {
namespace {

constexpr int kFirstCuda12 = 12000, kLargeParameters = 12010;  // versions of the driver
constexpr size_t kSmallParameters = 4096;                      // bytes
constexpr double kQuietSeconds = 2;

thread_local int last_code;
thread_local std::string last_message;

// Makes the stream's context current for as long as this object exists.
class ScopedContext {
 public:
  explicit ScopedContext(Stream stream) {
    std::string reason;
    driver_ = find_driver(&reason);
    if (!driver_) {
      error_ = fail(kNotInitialized, reason);
      return;
    }
    error_ = check("cuStreamGetCtx", driver_->cuStreamGetCtx(stream, &context_));
    if (error_) return;
    error_ = check("cuCtxPushCurrent", driver_->cuCtxPushCurrent(context_));
    if (error_) return;
    pushed_ = true;
    error_ = check("cuCtxGetDevice", driver_->cuCtxGetDevice(&device_));
  }
  ScopedContext(const ScopedContext&) = delete;
  ~ScopedContext() {
    Context ignored;
    if (pushed_) driver_->cuCtxPopCurrent(&ignored);
  }

  int error() const { return error_; }
  Context context() const { return context_; }
  const Driver& driver() const { return *driver_; }

  int attribute(DeviceAttribute attribute, int* value) const {
    return check("cuDeviceGetAttribute", driver_->cuDeviceGetAttribute(value, attribute, device_));
  }

  int check(const char* function, int result) const { return result == kSuccess ? result : failed(function, result); }

  int failed(const char* function, int result) const {
    const char* name = nullptr;
    driver_->cuGetErrorName(result, &name);
    return fail(result, std::string(function) + ": " + (name ? name : "error") + " (" + std::to_string(result) +
                            "), driver for CUDA " + version_text(driver_->version));
  }

 private:
  const Driver* driver_;
  Context context_ = nullptr;
  int device_ = 0, error_ = kSuccess;
  bool pushed_ = false;
};

// All loaded kernels of this process. Only one thread compiles at a time, and one per context loads. Loading may wait
// for work on its GPU, which may wait for launches by other threads on other GPUs.
class Kernels {
 public:
  int find(const ScopedContext& scope, const Variant& variant, Function* function) {
    const Key key = {scope.context(), variant.program()};
    if (is_loaded(key, function)) return kSuccess;
    const std::lock_guard<std::mutex> loading(loading_of(scope.context()));
    if (is_loaded(key, function)) return kSuccess;
    if (const int error = load(scope, variant, key.second, function)) return error;
    const std::lock_guard<std::mutex> lock(mutex_);
    functions_[key] = *function;
    return kSuccess;
  }

 private:
  using Key = std::pair<Context, std::string>;

  bool is_loaded(const Key& key, Function* function) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = functions_.find(key);
    if (found != functions_.end()) *function = found->second;
    return found != functions_.end();
  }

  std::mutex& loading_of(Context context) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return loading_[context];
  }

  int load(const ScopedContext& scope, const Variant& variant, const std::string& program, Function* function) {
    std::string image, compiler;
    {
      const std::lock_guard<std::mutex> lock(compiling_);
      if (const int error = get_image(scope, variant, program, &compiler, &image)) return error;
    }
    const Driver& driver = scope.driver();
    Module module;
    if (const int error = driver.cuModuleLoadData(&module, image.c_str())) {
      scope.failed("cuModuleLoadData", error);
      if (error == kInvalidImage || error == kNoBinaryForGpu || error == kInvalidPtx || error == kUnsupportedPtx) {
        last_message += "; it cannot load what " + compiler + " has compiled: install a newer driver, or " +
                        "an NVRTC that is no newer than the driver";
      }
      return error;
    }
    Function result;
    if (const int error = driver.cuModuleGetFunction(&result, module, variant.function.c_str())) {
      return scope.failed("cuModuleGetFunction", error);
    }
    int shared;
    if (const int error = scope.attribute(kSharedOfBlock, &shared)) return error;
    // Always the same value, because other threads may launch the same kernel at the same time.
    if (const int error = driver.cuFuncSetAttribute(result, kMaxDynamicShared, shared)) {
      return scope.failed("cuFuncSetAttribute", error);
    }
    *function = result;
    return kSuccess;
  }

  // Reads the image from disk, or compiles it.
  int get_image(const ScopedContext& scope, const Variant& variant, const std::string& program, std::string* name,
                std::string* image) {
    const int driver_version = scope.driver().version;
    if (driver_version < kFirstCuda12) {
      return fail(kOldDriver, "the driver is for CUDA " + version_text(driver_version) +
                                  ": install driver 525 or newer, which is for CUDA 12");
    }
    std::string reason;
    const Compiler* compiler = find_compiler(&reason);
    if (!compiler) return fail(kNoCompiler, reason);
    *name = compiler->name();
    int major, minor;
    if (const int error = scope.attribute(kCapabilityMajor, &major)) return error;
    if (const int error = scope.attribute(kCapabilityMinor, &minor)) return error;
    const int arch = major * 10 + minor;
    const std::filesystem::path folder = cache_folder();
    const std::string key = cache_key(program, *compiler, arch, driver_version);
    if (read_cached(folder, key, image)) return kSuccess;
    if (seconds_ > kQuietSeconds && !announced_) {
      announced_ = true;
      fprintf(stderr, "sg3tf: compiling CUDA kernels for this card (sm_%d) with %s, once\n", arch, name->c_str());
    }
    const auto start = std::chrono::steady_clock::now();
    std::string log;
    if (!compiler->compile(program, arch, image, &log)) {
      return fail(kInvalidSource, *name + " cannot compile " + variant.file + " for sm_" + std::to_string(arch) + ": " +
                                      log.substr(0, 2000));
    }
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    write_cached(folder, key, *image);
    return kSuccess;
  }

  // The key covers all embedded sources, not only those that the program includes.
  static std::string cache_key(const std::string& program, const Compiler& compiler, int arch, int driver_version) {
    static const std::string sources = [] {
      std::string all;
      for (int i = 0; i < kNumSources; ++i) all += std::string(kSources[i].name) + "\n" + kSources[i].text;
      return digest(all);
    }();
    return program + sources + "\n" + compiler.name() + "\n" + compiler.options() + "\nsm_" + std::to_string(arch) +
           "\n" + std::to_string(driver_version);
  }

  std::mutex mutex_, compiling_;
  std::map<Context, std::mutex> loading_;
  std::map<Key, Function> functions_;
  double seconds_ = 0;  // spent compiling
  bool announced_ = false;
};

}  // namespace

int fail(int code, const std::string& message) {
  last_code = code;
  last_message = message;
  return code;
}

int shared_memory(Stream stream, SharedMemory* result) {
  const ScopedContext scope(stream);
  if (scope.error()) return scope.error();
  if (const int error = scope.attribute(kSharedOfBlock, &result->block)) return error;
  if (const int error = scope.attribute(kSharedOfMultiprocessor, &result->multiprocessor)) return error;
  if (const int error = scope.attribute(kMultiprocessors, &result->multiprocessors)) return error;
  return scope.attribute(kSharedReserved, &result->reserved);
}

int compute_capability(Stream stream, int* major) {
  const ScopedContext scope(stream);
  return scope.error() ? scope.error() : scope.attribute(kCapabilityMajor, major);
}

int launch_kernel(const Variant& variant, const Launch& launch, Stream stream) {
  static Kernels& kernels = *new Kernels;  // never destroyed: other threads may launch while the process exits
  const ScopedContext scope(stream);
  if (scope.error()) return scope.error();
  const Driver& driver = scope.driver();
  if (launch.parameter_bytes > kSmallParameters && driver.version < kLargeParameters) {
    return fail(kOldDriver,
                "filters of more than about 900 taps need driver 530 or newer (CUDA 12.1); this one is for CUDA " +
                    version_text(driver.version));
  }
  Function function;
  if (const int error = kernels.find(scope, variant, &function)) return error;
  return scope.check("cuLaunchKernel", driver.cuLaunchKernel(function, launch.blocks, 1, 1, launch.threads, 1, 1,
                                                             launch.shared_bytes, stream, launch.parameters, nullptr));
}

}  // namespace sg3::jit

extern "C" const char* sg3_cuda_message(int code) {
  using namespace sg3::jit;
  if (code != last_code) fail(code, "CUDA error " + std::to_string(code));
  return last_message.c_str();
}

extern "C" const char* sg3_cuda_compiler() {
  using namespace sg3::jit;
  static const std::string text = [] {
    std::string reason;
    const Compiler* compiler = find_compiler(&reason);
    return compiler ? compiler->name() : reason;
  }();
  return text.c_str();
}

extern "C" const char* sg3_cuda_cache_folder() {
  static const std::string text = sg3::jit::cache_folder().string();
  return text.c_str();
}
