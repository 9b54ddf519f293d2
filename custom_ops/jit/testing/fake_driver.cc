// A libcuda.so.1 for tests, named by SG3TF_LIBCUDA: it records what is loaded and launched, and fails on request.
//
// Environment variables: FAKE_CUDA_VERSION (12040), FAKE_CUDA_ARCH (90), and FAKE_CUDA_FAIL, "FUNCTION=RESULT",
// or "cuLaunchKernel of KERNEL=RESULT".

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <string>

#include "custom_ops/jit/testing/fake_driver.h"

namespace {

int setting(const char* name, int otherwise) {
  const char* value = getenv(name);
  return value ? atoi(value) : otherwise;
}

// The result of a function, 0 unless the test asks for a failure.
int result_of(const std::string& function) {
  const char* value = getenv("FAKE_CUDA_FAIL");
  if (!value || std::string(value).compare(0, function.size() + 1, function + "=") != 0) return 0;
  return atoi(value + function.size() + 1);
}

// Handles are the addresses of these; the handle of a function is its name.
char context, module, event;

}  // namespace

extern "C" {

FakeCuda fake_cuda;

int cuDriverGetVersion(int* version) { return *version = setting("FAKE_CUDA_VERSION", 12040), 0; }

int cuGetErrorName(int result, const char** name) {
  *name = result == 1 ? "CUDA_ERROR_INVALID_VALUE" : result == 209 ? "CUDA_ERROR_NO_BINARY_FOR_GPU" : nullptr;
  return *name ? 0 : 1;
}

int cuStreamGetCtx(void*, void** result) { return *result = &context, result_of("cuStreamGetCtx"); }
int cuCtxPushCurrent_v2(void*) {
  if (const int error = result_of("cuCtxPushCurrent")) return error;
  return ++fake_cuda.contexts, 0;
}
int cuCtxPopCurrent_v2(void**) { return --fake_cuda.contexts, 0; }
int cuCtxGetDevice(int* device) { return *device = 0; }

int cuDeviceGetAttribute(int* value, int attribute, int) {
  const int arch = setting("FAKE_CUDA_ARCH", 90);
  switch (attribute) {
    case 16:
      return *value = 132, 0;
    case 75:
      return *value = arch / 10, 0;
    case 76:
      return *value = arch % 10, 0;
    case 81:
      return *value = 233472, 0;
    case 97:
      return *value = 232448, 0;
    case 111:
      return *value = 1024, 0;
  }
  return 1;
}

int cuModuleLoadData(void** result, const void* image) {
  ++fake_cuda.modules;
  memcpy(fake_cuda.image, image, sizeof fake_cuda.image - 1);
  return *result = &module, result_of("cuModuleLoadData");
}

int cuModuleGetFunction(void** result, void*, const char* name) {
  strncpy(fake_cuda.function, name, sizeof fake_cuda.function - 1);
  return *result = strdup(name), result_of("cuModuleGetFunction");
}

int cuFuncSetAttribute(void*, int attribute, int value) {
  if (attribute != 8) return 1;
  return fake_cuda.shared_limit = value, 0;
}

int cuLaunchKernel(void* launched, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared_bytes, void* stream, void** parameters,
                   void** extra) {
  if (!launched || extra) return 1;
  strncpy(fake_cuda.function, static_cast<char*>(launched), sizeof fake_cuda.function - 1);
  ++fake_cuda.launches;
  fake_cuda.grid[0] = grid_x, fake_cuda.grid[1] = grid_y, fake_cuda.grid[2] = grid_z;
  fake_cuda.block[0] = block_x, fake_cuda.block[1] = block_y, fake_cuda.block[2] = block_z;
  fake_cuda.shared_bytes = shared_bytes;
  fake_cuda.stream = stream;
  if (fake_cuda.on_launch) fake_cuda.on_launch(parameters);
  const int error = result_of("cuLaunchKernel");
  return error ? error : result_of(std::string("cuLaunchKernel of ") + fake_cuda.function);
}

int cuMemAllocAsync(void** memory, size_t bytes, void*) {
  if (const int error = result_of("cuMemAllocAsync")) return error;
  ++fake_cuda.allocations;
  return *memory = malloc(bytes), 0;
}

int cuMemFreeAsync(void* memory, void*) { return free(memory), --fake_cuda.allocations, 0; }
int cuMemcpyHtoDAsync_v2(void* to, const void* from, size_t bytes, void*) { return memcpy(to, from, bytes), 0; }
int cuMemcpyDtoHAsync_v2(void* to, const void* from, size_t bytes, void*) { return memcpy(to, from, bytes), 0; }
int cuStreamSynchronize(void*) { return 0; }
int cuEventCreate(void** result, unsigned) { return *result = &event, 0; }
int cuEventRecord(void*, void*) { return result_of("cuEventRecord"); }
int cuEventElapsedTime(float* time, void*, void*) { return *time = fake_cuda.milliseconds, 0; }
int cuEventDestroy_v2(void*) { return 0; }
}
