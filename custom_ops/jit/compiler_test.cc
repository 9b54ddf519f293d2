// Tests the compilers: NVRTC, if it is installed, and a script in place of nvcc.
//
// SG3TF_NVRTC is the file of NVRTC. configure.py sets it for Bazel's tests.

#include "custom_ops/jit/compiler.h"

#include "custom_ops/filtered_lrelu/cuda_block.h"
#include "custom_ops/filtered_lrelu/cuda_mma_block.h"
#include "custom_ops/jit/testing/checks.h"
#include "custom_ops/upfirdn2d/cuda_block.h"

namespace sg3::jit {
namespace {

void test_cubins(const Compiler& nvrtc) {
  for (const int arch : {75, 80, 86, 89, 90, 100, 120}) {
    std::string image, log;
    check(nvrtc.compile("extern \"C\" __global__ void my_kernel() {}\n", arch, &image, &log), log);
    check(image.compare(0, 4, "\177ELF") == 0 && image.find("my_kernel") != std::string::npos, std::to_string(arch));
  }
}

// Parameters are copied to the device as the host lays them out.
void test_sizes(const Compiler& nvrtc) {
  const std::string include = "#include \"custom_ops/";
  const auto equal = [](const std::string& type, size_t size) {
    return "static_assert(sizeof(sg3::cuda::" + type + ") == " + std::to_string(size) + ", \"" + type + "\");\n";
  };
  const std::string program = include + "filtered_lrelu/cuda_block.h\"\n" + include +
                              "filtered_lrelu/cuda_mma_block.h\"\n" + include + "upfirdn2d/cuda_block.h\"\n" +
                              equal("LreluPlan", sizeof(cuda::LreluPlan)) + equal("MmaPlan", sizeof(cuda::MmaPlan)) +
                              equal("UpfirdnPlan", sizeof(cuda::UpfirdnPlan)) + "__global__ void kernel() {}\n";
  std::string image, log;
  check(nvrtc.compile(program, 90, &image, &log), log);
}

void test_newer_card(const Compiler& nvrtc) {
  std::string image, log;
  check(nvrtc.compile("__global__ void kernel() {}\n", 199, &image, &log), log);
  check_contains(image, ".version");
  check_contains(image, ".target sm_1");
}

void test_error(const Compiler& nvrtc) {
  std::string image, log;
  check(!nvrtc.compile("__global__ void kernel() { this_is_wrong(); }\n", 90, &image, &log), "a wrong program");
  check_contains(log, "this_is_wrong");
}

void test_no_nvrtc() {
  std::string reason;
  check(!load_nvrtc("/nowhere/libnvrtc.so.12", &reason), "no file");
  check_contains(reason, "/nowhere/libnvrtc.so.12");
  check(!load_nvrtc("libdl.so.2", &reason), "another library");
  check_contains(reason, "CUDA 12.0 or newer is needed");
}

// A script in place of nvcc gets the program, the sources and the architecture.
void test_nvcc() {
  const std::filesystem::path home = new_folder() / "it's here", script = home / "bin" / "nvcc";
  std::filesystem::create_directories(home / "bin");
  write_text(script,
             "#!/bin/sh\n"
             "[ \"$1\" = --version ] && echo 'Cuda compilation tools, release 12.3, V12.3.107' && exit\n"
             "[ \"$1\" = --list-gpu-arch ] && printf 'compute_75\\ncompute_89\\ncompute_90\\ncompute_101\\n' && exit\n"
             "grep -q wrong sg3tf.cu && echo 'wrong is undefined' >&2 && exit 1\n"
             "{ cat sg3tf.cu custom_ops/resampling/stage.h; echo \"$@\"; } > out\n");
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  setenv("CUDA_HOME", home.c_str(), 1);
  setenv("TMPDIR", home.c_str(), 1);
  const std::unique_ptr<Compiler> nvcc = find_nvcc();
  check(nvcc && nvcc->name() == "nvcc 12.3", "the version of nvcc");
  if (!nvcc) return;
  std::string image, log;
  check(nvcc->compile("the program\n", 89, &image, &log), log);
  for (const char* part : {"the program\n", "Sg3Stage", "-arch=sm_89", "-cubin"}) check_contains(image, part);
  check(!nvcc->options().empty(), "no options");
  check_contains(image, nvcc->options());
  check(nvcc->compile("the program\n", 103, &image, &log), "a newer card");  // the driver compiles PTX for it
  for (const char* part : {"-arch=compute_90", "-ptx"}) check_contains(image, part);
  check(nvcc->compile("the program\n", 110, &image, &log), "a card whose architecture was renamed");
  check_contains(image, "-arch=compute_101");
  check(!nvcc->compile("wrong\n", 89, &image, &log), "a wrong program");
  check_contains(log, "wrong is undefined");
  size_t left = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(home)) ++left;
  check(left == 1, "folders that are left");
  setenv("TMPDIR", "/nowhere", 1);
  check(!nvcc->compile("the program\n", 89, &image, &log), "no temporary folder");
  check_contains(log, "set TMPDIR");
  setenv("CUDA_HOME", "/nowhere", 1);
  check(!find_nvcc(), "no nvcc");
}

}  // namespace
}  // namespace sg3::jit

int main() {
  using namespace sg3::jit;
  scenario("no NVRTC", test_no_nvrtc);
  scenario("nvcc", test_nvcc);
  const char* file = getenv("SG3TF_NVRTC");
  if (!file) {
    printf("NVRTC is not installed, so it is not tested: pip install nvidia-cuda-nvrtc-cu12\n");
    return report();
  }
  std::string reason;
  const std::unique_ptr<Compiler> nvrtc = load_nvrtc(file, &reason);
  check(nvrtc != nullptr, reason);
  if (!nvrtc) return report();
  printf("%s\n", nvrtc->name().c_str());
  test_cubins(*nvrtc);
  test_sizes(*nvrtc);
  test_newer_card(*nvrtc);
  test_error(*nvrtc);
  return report();
}
