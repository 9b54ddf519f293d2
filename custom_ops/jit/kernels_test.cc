// Launches through a fake driver, with a script in place of nvcc: compilation at first use, what the driver receives,
// and messages.
//
// kernels_test FAKE_DRIVER

#include "custom_ops/jit/kernels.h"

#include <dlfcn.h>
#include <string.h>

#include <thread>
#include <vector>

#include "custom_ops/jit/disk_cache.h"
#include "custom_ops/jit/testing/checks.h"
#include "custom_ops/jit/testing/fake_driver.h"
#include "custom_ops/resampling/cuda/launch.h"
#include "custom_ops/upfirdn2d/problem.h"

namespace sg3::jit {
namespace {

std::filesystem::path folder;  // of this test: cache, nvcc and the list of compilations

const Variant kVariant = {"custom_ops/upfirdn2d/kernel.cu", "upfirdn2d", {{"SG3_TAPS", "4"}}};
const Variant kOther = {"custom_ops/upfirdn2d/kernel.cu", "upfirdn2d", {{"SG3_TAPS", "8"}}};
void* const kStream = reinterpret_cast<void*>(16);

FakeCuda& fake() {
  void* library = dlopen(getenv("SG3TF_LIBCUDA"), RTLD_NOW);
  return *static_cast<FakeCuda*>(dlsym(library, "fake_cuda"));
}

int launch_one(const Variant& variant = kVariant) {
  int parameter = 0;
  return cuda::launch(variant, 3, 64, 5, kStream, parameter);
}

size_t compilations() { return read_text(folder / "compiled").size(); }

void check_failure(int result, int expected, const std::vector<const char*>& parts) {
  check(result == expected, "result " + std::to_string(result) + " instead of " + std::to_string(expected));
  for (const char* part : parts) check_contains(sg3_cuda_message(result), part);
  check(fake().contexts == 0, "the context is left pushed");
}

// Sets up a new folder, with a script that appends a letter to a file at every compilation.
void new_setting(const char* driver) {
  folder = new_folder();
  std::filesystem::create_directory(folder / "bin");
  write_text(folder / "bin" / "nvcc",
             "#!/bin/sh\n[ \"$1\" = --version ] && echo 'release 12.9,' && exit\n[ \"$1\" = --list-gpu-arch ] && "
             "exit\nprintf x >> '" +
                 (folder / "compiled").string() + "'\necho \"$*\" > out\ngrep -q 'SG3_TAPS 13' sg3tf.cu && exit 1\n" +
                 "grep -q 'SG3_TAPS 16' sg3tf.cu && sleep 2.1\nexit 0\n");
  std::filesystem::permissions(folder / "bin" / "nvcc", std::filesystem::perms::owner_all);
  setenv("CUDA_HOME", folder.c_str(), 1);
  setenv("SG3TF_CACHE", (folder / "cache").c_str(), 1);
  setenv("SG3TF_NVRTC", "/nowhere/libnvrtc.so", 1);
  setenv("SG3TF_LIBCUDA", driver, 1);
}

void test_launch() {
  check(launch_one() == kSuccess && launch_one() == kSuccess, sg3_cuda_message(0));
  const FakeCuda& seen = fake();
  check(seen.modules == 1 && seen.launches == 2 && compilations() == 1, "one module, two launches");
  check(seen.grid[0] == 3 && seen.grid[1] == 1 && seen.grid[2] == 1, "grid");
  check(seen.block[0] == 64 && seen.block[1] == 1 && seen.block[2] == 1, "block");
  check(seen.shared_bytes == 20 && seen.shared_limit == 232448, "shared memory");
  check(seen.stream == kStream && seen.contexts == 0, "stream and context");
  check(std::string(seen.function) == "upfirdn2d" && std::string(seen.image) == "-cubin ", "function and image");
  check(launch_one(kOther) == kSuccess && seen.modules == 2 && compilations() == 2, "another variant");
}

void test_many_blocks() {
  check(cuda::launch(kVariant, int64_t(1) << 40, 64, 0, kStream, 0) == kSuccess, "launch");
  check(fake().grid[0] == 0x7fffffff, "the largest grid");
}

// Only the general kernel of upfirdn2d loops over more blocks than a grid may have.
void test_many_images() {
  const double taps[12] = {};
  const auto used = [&](int64_t batch, int64_t channels) {
    const Sg3Axis axis = {1, 1, 0, 4, 4, 1};
    const Sg3Upfirdn2d problem = {batch, channels, {axis, axis, 1, taps, taps}};
    void* const array = reinterpret_cast<void*>(4096);  // never read
    check(sg3_cuda_upfirdn2d(&problem, SG3_FLOAT32, array, array, kStream) == kSuccess, sg3_cuda_message(0));
    return std::string(fake().function);
  };
  const int64_t most = 0x7fffffff;
  check(used(most, 8) == "upfirdn2d_strip" && fake().grid[0] == most, "strips");
  check(used(most + 1, 8) == "upfirdn2d" && fake().grid[0] == most, "too many strips");
  check(used(most, 3) == "upfirdn2d_image" && fake().grid[0] == most, "images");
  check(used(most + 1, 3) == "upfirdn2d" && fake().grid[0] == most, "too many images");
}

struct Plan {
  char bytes[100];
};

void test_parameters() {
  fake().on_launch = [](void** parameters) {
    check(static_cast<const Plan*>(parameters[0])->bytes[99] == 7, "a structure");
    check(*static_cast<void**>(parameters[1]) == kStream, "a pointer");
    check(*static_cast<const float*>(parameters[2]) == 0.5f, "a number");
  };
  Plan plan = {};
  plan.bytes[99] = 7;
  check(cuda::launch(kVariant, 1, 32, 0, kStream, plan, kStream, 0.5f) == kSuccess, "launch");
  check(fake().launches == 1, "one launch");
}

void test_limits() {
  cuda::SharedLimits limits = {};
  check(cuda::shared_limits(kStream, &limits) == kSuccess, "limits");
  check(limits.block == 232448 && limits.pair == 233472 / 2 - 1024, "shared memory of one block and of two");
  check(fake().contexts == 0, "the context is left pushed");
}

void test_threads() {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([] { check(launch_one() == kSuccess, "launch beside others"); });
  for (std::thread& thread : threads) thread.join();
  check(compilations() == 1 && fake().modules == 1, "one compilation");
}

// Runs each setting in its own process, like separate runs of a program; `compiled` is true if it must compile.
void test_cache() {
  const auto run = [](const std::string& what, bool compiled, const char* name = nullptr, const char* value = "") {
    const size_t before = compilations();
    scenario(what, [&] {
      if (name) setenv(name, value, 1);
      check(launch_one() == kSuccess, sg3_cuda_message(0));
      check(std::string(fake().image) == "-cubin ", "the image");
    });
    check(compilations() - before == size_t(compiled), what + ": " + std::to_string(compilations() - before));
  };
  run("first", true);
  run("second", false);
  run("another driver", true, "FAKE_CUDA_VERSION", "13000");
  run("another card", true, "FAKE_CUDA_ARCH", "120");
  run("first again", false);
  for (const auto& entry : std::filesystem::directory_iterator(folder / "cache")) {
    std::filesystem::resize_file(entry.path(), 40);
  }
  run("truncated", true);
  run("repaired", false);
  run("no folder", true, "SG3TF_CACHE", "/proc/sg3tf");
  run("no folder, again", true, "SG3TF_CACHE", "/proc/sg3tf");
}

void test_no_driver() {
  setenv("SG3TF_LIBCUDA", "/nowhere/libcuda.so.1", 1);
  check(launch_one() == kNotInitialized, "result");
  check_contains(sg3_cuda_message(kNotInitialized), "no NVIDIA driver");
}

void test_old_driver() {
  setenv("FAKE_CUDA_VERSION", "11080", 1);
  check_failure(launch_one(), kOldDriver, {"CUDA 11.8", "install driver 525 or newer"});
}

void test_large_parameters() {
  setenv("FAKE_CUDA_VERSION", "12000", 1);
  struct {
    char bytes[4097];
  } large = {};
  check_failure(cuda::launch(kVariant, 1, 32, 0, kStream, large), kOldDriver, {"CUDA 12.0", "driver 530"});
  check(launch_one() == kSuccess, "small ones");
}

void test_failures() {
  setenv("FAKE_CUDA_FAIL", "cuStreamGetCtx=201", 1);
  check_failure(launch_one(), 201, {"cuStreamGetCtx", "201"});
  setenv("FAKE_CUDA_FAIL", "cuCtxPushCurrent=201", 1);
  check_failure(launch_one(), 201, {"cuCtxPushCurrent", "201"});
  setenv("FAKE_CUDA_FAIL", "cuModuleLoadData=209", 1);
  check_failure(launch_one(), 209, {"CUDA_ERROR_NO_BINARY_FOR_GPU", "CUDA 12.4", "nvcc 12.9", "newer driver"});
  setenv("FAKE_CUDA_FAIL", "cuModuleGetFunction=500", 1);
  check_failure(launch_one(), 500, {"cuModuleGetFunction", "500"});
  setenv("FAKE_CUDA_FAIL", "cuLaunchKernel=1", 1);
  check_failure(launch_one(), 1, {"cuLaunchKernel", "CUDA_ERROR_INVALID_VALUE (1)", "CUDA 12.4"});
  unsetenv("FAKE_CUDA_FAIL");
  check(launch_one() == kSuccess, "after failures");
  check_contains(sg3_cuda_message(999), "CUDA error 999");
}

void test_failed_compilation() {
  const Variant wrong = {"custom_ops/upfirdn2d/kernel.cu", "upfirdn2d", {{"SG3_TAPS", "13"}}};
  for (size_t i = 1; i <= 2; ++i) {
    check_failure(launch_one(wrong), kInvalidSource, {"nvcc 12.9 cannot compile custom_ops/upfirdn2d", "sm_90"});
    check(compilations() == i, "it is tried again");
  }
}

// The notice appears once, after two seconds of compilation.
void test_notice() {
  const std::filesystem::path file = folder / "stderr";
  check(freopen(file.c_str(), "w", stderr) != nullptr, "stderr");
  const Variant slow = {"custom_ops/upfirdn2d/kernel.cu", "upfirdn2d", {{"SG3_TAPS", "16"}}};
  check(launch_one() == kSuccess && launch_one(slow) == kSuccess, "launch");
  fflush(stderr);
  check(read_text(file).empty(), "a notice too early");
  const Variant third = {"custom_ops/upfirdn2d/kernel.cu", "upfirdn2d", {{"SG3_TAPS", "32"}}};
  check(launch_one(kOther) == kSuccess && launch_one(third) == kSuccess, "launch");
  fflush(stderr);
  check(read_text(file) == "sg3tf: compiling CUDA kernels for this card (sm_90) with nvcc 12.9, once\n",
        read_text(file));
}

void test_no_compiler() {
  setenv("CUDA_HOME", "/nowhere", 1);
  check_failure(launch_one(), kNoCompiler, {"/nowhere/libnvrtc.so", "nvcc", "pip install \"sg3tf[cuda]\""});
}

}  // namespace
}  // namespace sg3::jit

int main(int, char** argv) {
  using namespace sg3::jit;
  const auto run = [&](const char* name, void (*test)()) {
    new_setting(argv[1]);
    scenario(name, test);
  };
  run("launch", test_launch);
  run("many blocks", test_many_blocks);
  run("many images", test_many_images);
  run("parameters", test_parameters);
  run("limits", test_limits);
  run("threads", test_threads);
  run("cache", test_cache);
  run("no driver", test_no_driver);
  run("old driver", test_old_driver);
  run("large parameters", test_large_parameters);
  run("failures", test_failures);
  run("failed compilation", test_failed_compilation);
  run("notice", test_notice);
  run("no compiler", test_no_compiler);
  return report();
}
