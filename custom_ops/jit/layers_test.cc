// Runs the launchers of both operations with a fake driver of the oldest supported version: NVRTC compiles the kernels
// of StyleGAN3's layers for cards of every architecture, and their parameters are small enough.
//
// layers_test FAKE_DRIVER; SG3TF_NVRTC is the file of NVRTC, and configure.py sets it for Bazel's tests.

#include <string.h>

#include <cmath>
#include <vector>

#include "custom_ops/filtered_lrelu/problem.h"
#include "custom_ops/jit/kernels.h"
#include "custom_ops/jit/testing/checks.h"
#include "custom_ops/upfirdn2d/problem.h"

namespace sg3::jit {
namespace {

void* const kArray = reinterpret_cast<void*>(4096);  // never read

// The same on both axes: `terms` filters of 6 taps per factor, or of one tap without factors.
class Resampling {
 public:
  Resampling(int64_t up, int64_t down, int64_t in_size, int64_t before, int64_t terms) {
    const int64_t factor = up * down, taps = factor > 1 ? 6 * factor : 1;
    taps_.assign(size_t(terms * taps), 1.0 / double(taps));
    const Sg3Axis axis = {up, down, before, taps, in_size, (in_size * up + before - taps) / down + 1};
    stage_ = {axis, axis, terms, nullptr, nullptr};
  }

  int64_t out_size() const { return stage_.y.out_size; }

  Sg3Stage stage() const {
    Sg3Stage stage = stage_;
    stage.taps_y = stage.taps_x = taps_.data();
    return stage;
  }

 private:
  std::vector<double> taps_;
  Sg3Stage stage_;
};

void launch_layer(int64_t up, int64_t down, int64_t terms, int mode, int type, bool tensor_cores) {
  const int64_t before = up == 1 ? 0 : up == down ? 11 : up == 4 ? 22 : 10;  // the alignment of StyleGAN3's filters
  const Resampling first(up, 1, 84, before, mode == SG3_APPLY_MASK ? terms : 1);
  const Resampling second(1, down, first.out_size(), 0, mode == SG3_APPLY_MASK ? 1 : terms);
  const Sg3FilteredLrelu problem = {8, 512, first.stage(), second.stage(), 0.2, 256, mode};
  const auto launcher = tensor_cores ? sg3_cuda_filtered_lrelu_mma : sg3_cuda_filtered_lrelu;
  const int result = launcher(&problem, type, kArray, kArray, kArray, kArray, kArray);
  check(result == kSuccess, "up " + std::to_string(up) + ", down " + std::to_string(down) + ", terms " +
                                std::to_string(terms) + ", mode " + std::to_string(mode) + ", type " +
                                std::to_string(type) + ": " + sg3_cuda_message(result));
}

void launch_fir(int64_t up, int64_t down, int64_t channels, int type) {
  const Resampling resampling(up, down, 64, up > 1 ? 6 * up * down - 1 : 0, 1);
  const Sg3Upfirdn2d problem = {8, channels, resampling.stage()};
  const int result = sg3_cuda_upfirdn2d(&problem, type, kArray, kArray, kArray);
  check(result == kSuccess, "upfirdn2d, up " + std::to_string(up) + ", down " + std::to_string(down) + ", " +
                                std::to_string(channels) + " channels: " + sg3_cuda_message(result));
}

// Returns the architecture in the header of a cubin, an ELF file; 0 if the image is not a cubin.
int arch_of(const std::string& image) {
  constexpr size_t kAbiAt = 8, kMachineAt = 18, kFlagsAt = 48;
  constexpr uint16_t kCuda = 190;
  uint16_t machine;
  uint32_t flags;
  if (image.size() < 64 || image.compare(0, 4, "\177ELF") != 0) return 0;
  memcpy(&machine, image.data() + kMachineAt, sizeof machine);
  memcpy(&flags, image.data() + kFlagsAt, sizeof flags);
  if (machine != kCuda) return 0;
  return image[kAbiAt] >= 8 ? int(flags >> 8 & 0xff) : int(flags & 0xff);  // moved by CUDA 13
}

// Few lines of the kernels depend on the architecture, so each architecture compiles only some of the kernels.
void launch_share(int arch, void (*launch)()) {
  const std::filesystem::path cache = new_folder();
  setenv("SG3TF_CACHE", cache.c_str(), 1);
  setenv("FAKE_CUDA_ARCH", std::to_string(arch).c_str(), 1);
  launch();
  int images = 0;
  for (const auto& entry : std::filesystem::directory_iterator(cache)) {
    const int found = arch_of(read_text(entry.path()).substr(32));  // after the digest
    check(found == arch, "a cubin for " + std::to_string(found));
    ++images;
  }
  check(images > 0, "no cubin");
  printf("sm_%d: %d kernels\n", arch, images);
}

}  // namespace
}  // namespace sg3::jit

int main(int, char** argv) {
  using namespace sg3::jit;
  if (!getenv("SG3TF_NVRTC")) {
    printf("NVRTC is not installed, so nothing is tested: pip install nvidia-cuda-nvrtc-cu12\n");
    return 0;
  }
  setenv("SG3TF_LIBCUDA", argv[1], 1);
  setenv("FAKE_CUDA_VERSION", "12000", 1);  // driver 525
  const auto run = [](int arch, void (*launch)()) {
    scenario("sm_" + std::to_string(arch), [&] { launch_share(arch, launch); });
  };
  run(75, [] {
    launch_layer(2, 2, 1, SG3_ACTIVATE, SG3_BFLOAT16, false);
    launch_fir(1, 2, 64, SG3_FLOAT16);
  });
  run(80, [] {
    launch_layer(2, 2, 1, SG3_ACTIVATE_AND_MASK, SG3_FLOAT32, false);
    launch_layer(2, 2, 1, SG3_ACTIVATE_AND_MASK, SG3_FLOAT16, true);
    launch_fir(2, 1, 3, SG3_FLOAT32);
  });
  run(90, [] {
    launch_layer(4, 2, 6, SG3_ACTIVATE, SG3_FLOAT32, false);
    launch_layer(4, 2, 1, SG3_ACTIVATE, SG3_BFLOAT16, true);
    launch_layer(2, 2, 6, SG3_ACTIVATE_AND_MASK, SG3_FLOAT16, true);
    launch_fir(1, 2, 64, SG3_FLOAT16);
  });
  run(100, [] {
    launch_layer(2, 4, 6, SG3_APPLY_MASK, SG3_FLOAT32, false);
    launch_layer(2, 4, 1, SG3_APPLY_MASK, SG3_FLOAT16, true);
    launch_layer(2, 4, 6, SG3_APPLY_MASK, SG3_BFLOAT16, true);
    launch_fir(3, 2, 64, SG3_BFLOAT16);
  });
  run(120, [] {
    launch_layer(1, 1, 1, SG3_ACTIVATE, SG3_FLOAT16, false);
    launch_layer(2, 2, 1, SG3_APPLY_MASK, SG3_BFLOAT16, true);
    launch_layer(3, 3, 1, SG3_ACTIVATE, SG3_FLOAT32, false);
  });
  return report();
}
