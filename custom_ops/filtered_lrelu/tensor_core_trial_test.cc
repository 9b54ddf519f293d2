// Tests when filtered_lrelu uses tensor cores, with a fake driver whose kernels compute what a test sets, and with a
// script in place of nvcc.
//
// tensor_core_trial_test FAKE_DRIVER

#include <dlfcn.h>
#include <string.h>

#include <cmath>
#include <vector>

#include "custom_ops/filtered_lrelu/problem.h"
#include "custom_ops/jit/driver.h"
#include "custom_ops/jit/testing/checks.h"
#include "custom_ops/jit/testing/fake_driver.h"
#include "custom_ops/resampling/testing/reference.h"

namespace sg3::jit {
namespace {

constexpr char kFma[] = "filtered_lrelu_sweep", kTensor[] = "filtered_lrelu_mma";
constexpr int kTrialLaunches = 64;  // four rounds of eight of each kernel
constexpr uint16_t kOne = 0x3c00, kNan = 0x7e00;

// The behavior of the kernel on tensor cores.
struct {
  uint16_t output = 0;  // in the middle of the first row
  uint32_t mask = 0;    // value of every byte; the other kernel writes 0
  float milliseconds = 1;
  int slow_launches = 0;  // before the others, which take 3 ms
} tensor;

FakeCuda& fake() {
  void* library = dlopen(getenv("SG3TF_LIBCUDA"), RTLD_NOW);
  return *static_cast<FakeCuda*>(dlsym(library, "fake_cuda"));
}

// Arrays of the problem itself, never read: aligned, and not.
void *const kArray = reinterpret_cast<void*>(4096), *const kUnaligned = reinterpret_cast<void*>(4098);
size_t trial_channels = 512;

// The other kernel writes zeros, and takes 2 ms.
void launched(void** parameters) {
  if (*static_cast<void**>(parameters[4]) == kArray || *static_cast<void**>(parameters[4]) == kUnaligned) return;
  const bool is_tensor = std::string(fake().function) == kTensor;
  fake().milliseconds = is_tensor ? (tensor.slow_launches-- > 0 ? 3 : tensor.milliseconds) : 2;
  uint16_t* y = *static_cast<uint16_t**>(parameters[4]);
  uint32_t* mask = *static_cast<uint32_t**>(parameters[5]);
  memset(y, 0, size_t(8) * 35 * 35 * trial_channels * 2);
  memset(mask, is_tensor ? int(tensor.mask) : 0, size_t(8) * 32 * 80 * 80 * 4);
  if (is_tensor) y[1000] = tensor.output;
}

// Calls the launcher once; returns the kernel that it uses. `crop` samples are cut off on the left of a gradient.
std::string used_once(int type, int crop, double clamp = 256, void* array = kArray) {
  static const std::vector<double> taps(12, 1. / 12);
  const Sg3Axis up = testing::axis(84, 2, 1, 11, 10, 12), down = testing::axis(up.out_size, 1, 2, 0, 0, 12),
                cropped = testing::axis(up.out_size, 1, 2, -crop, 0, 12);
  const Sg3Stage first = {up, up, 1, taps.data(), taps.data()}, second = {down, cropped, 1, taps.data(), taps.data()};
  const Sg3FilteredLrelu problem = {8, 512, first, second, 0.2, clamp, crop ? SG3_APPLY_MASK : SG3_ACTIVATE_AND_MASK};
  FakeCuda& cuda = fake();
  cuda.on_launch = launched;
  check(sg3_cuda_filtered_lrelu_fastest(&problem, type, array, array, array, kArray, kArray) == kSuccess, "launch");
  check(cuda.allocations == 0 && cuda.contexts == 0, "memory or a context is left");
  return cuda.function;
}

// Both launchers refuse the same problems.
void test_invalid() {
  static const std::vector<double> taps(12, 1. / 12);
  const Sg3Axis up = testing::axis(84, 2, 1, 11, 10, 12), down = testing::axis(up.out_size, 1, 2, 0, 0, 12);
  const Sg3Stage first = {up, up, 1, taps.data(), taps.data()}, second = {down, down, 1, taps.data(), taps.data()};
  const Sg3FilteredLrelu valid = {8, 512, first, second, 0.2, 256, SG3_ACTIVATE_AND_MASK};
  const auto is_refused = [&](const char* what, const Sg3FilteredLrelu& problem, void* mask) {
    for (const auto launcher : {sg3_cuda_filtered_lrelu, sg3_cuda_filtered_lrelu_mma}) {
      const int result = launcher(&problem, SG3_FLOAT16, kArray, kArray, kArray, mask, kArray);
      check(result == kInvalidValue && fake().launches == 0, what);
    }
  };
  is_refused("no mask", valid, nullptr);
  Sg3FilteredLrelu wrong = valid;
  wrong.mode = 3;
  is_refused("no mode", wrong, kArray);
  wrong = valid;
  --wrong.down.x.in_size;
  is_refused("stages that do not fit", wrong, kArray);
  wrong = valid;
  wrong.up.y.down = 2;
  is_refused("a factor that must be 1", wrong, kArray);
}

// Calls it twice.
std::string used(int type, int crop) {
  const std::string kernel = used_once(type, crop);
  const int before = fake().launches;
  check(used_once(type, crop) == kernel, "another kernel the second time");
  check(fake().launches == before + 1, "tried twice");
  return kernel;
}

void new_setting(const char* driver) {
  const std::filesystem::path folder = new_folder();
  std::filesystem::create_directory(folder / "bin");
  write_text(folder / "bin" / "nvcc",
             "#!/bin/sh\n[ \"$1\" = --version ] && echo 'release 12.9,' && exit\necho x > out\n");
  std::filesystem::permissions(folder / "bin" / "nvcc", std::filesystem::perms::owner_all);
  setenv("CUDA_HOME", folder.c_str(), 1);
  setenv("SG3TF_CACHE", (folder / "cache").c_str(), 1);
  setenv("SG3TF_NVRTC", "/nowhere/libnvrtc.so", 1);
  setenv("SG3TF_LIBCUDA", driver, 1);
}

}  // namespace
}  // namespace sg3::jit

int main(int, char** argv) {
  using namespace sg3::jit;
  new_setting(argv[1]);
  const auto expect = [](const std::string& name, const char* kernel, void (*prepare)(), int type = SG3_FLOAT16,
                         int crop = 0) {
    scenario(name, [&] {
      prepare();
      const std::string found = used(type, crop);
      check(found == kernel, name + ": " + found);
      check(name != "right and fast" || fake().launches == kTrialLaunches + 2, "launches of the trial");
    });
  };
  expect("right and fast", kTensor, [] {});
  expect("a bfloat16 image", kTensor, [] {}, SG3_BFLOAT16);
  expect("a float32 image", kFma, [] {}, SG3_FLOAT32);
  expect("a crop beyond the trial's size", kTensor, [] {}, SG3_FLOAT16, 100);
  expect("as far off as rounding", kTensor, [] { tensor.output = 0x3800; });  // 0.5; inputs are up to 320
  expect("wrong", kFma, [] { tensor.output = kOne; });
  expect("not a number", kFma, [] { tensor.output = kNan; });
  expect("wrong bits", kFma, [] { tensor.mask = 1; });
  expect("slow", kFma, [] { tensor.milliseconds = 3; });
  expect("a little slower", kTensor, [] { tensor.milliseconds = 2.4; });
  expect("slow once", kTensor, [] { tensor.slow_launches = 32; });
  expect("a failure other than of memory", kFma, [] { setenv("FAKE_CUDA_FAIL", "cuEventRecord=700", 1); });
  expect("turned off", kFma, [] { setenv("SG3TF_TENSOR_CORES", "0", 1); });
  expect("turned on, whatever a trial would show", kTensor, [] {
    setenv("SG3TF_TENSOR_CORES", "1", 1);
    tensor.output = kNan;
  });
  scenario("a launch that the driver refuses", [] {
    check(used(SG3_FLOAT16, 0) == kTensor, "launched");
    setenv("FAKE_CUDA_FAIL", "cuLaunchKernel of filtered_lrelu_mma=701", 1);
    check(used(SG3_FLOAT16, 0) == kFma, "refused");
    unsetenv("FAKE_CUDA_FAIL");
    check(used(SG3_FLOAT16, 0) == kFma, "used again");
  });
  expect("no memory", kFma, [] { setenv("FAKE_CUDA_FAIL", "cuMemAllocAsync=2", 1); });
  scenario("memory for the second trial", [] {
    setenv("FAKE_CUDA_FAIL", "cuMemAllocAsync=2", 1);
    check(used_once(SG3_FLOAT16, 0) == kFma, "without memory");
    unsetenv("FAKE_CUDA_FAIL");
    check(used(SG3_FLOAT16, 0) == kTensor, "with memory");
  });
  scenario("no memory for two trials", [] {
    setenv("FAKE_CUDA_FAIL", "cuMemAllocAsync=2", 1);
    check(used(SG3_FLOAT16, 0) == kFma, "without memory");
    unsetenv("FAKE_CUDA_FAIL");
    const int before = fake().launches;
    check(used_once(SG3_FLOAT16, 0) == kFma && fake().launches == before + 1, "tried a third time");
  });
  scenario("pixels at another alignment", [] {
    check(used(SG3_FLOAT16, 0) == kTensor, "aligned");
    trial_channels = 505;
    tensor.output = kNan;
    check(used_once(SG3_FLOAT16, 0, 256, kUnaligned) == kFma, "not aligned");
    check(used(SG3_FLOAT16, 0) == kTensor, "aligned, later");
  });
  scenario("a clamp too small for the filters", [] {
    check(used_once(SG3_FLOAT16, 0, 1e-3) == kFma && fake().launches == 1, "untried");
    check(used(SG3_FLOAT16, 0) == kTensor, "with another clamp");
  });
  scenario("problems that are not valid", test_invalid);
  expect("compute capability 7.5", kFma, [] { setenv("FAKE_CUDA_ARCH", "75", 1); });
  return report();
}
