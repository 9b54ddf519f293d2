// Kernels by variant: compiled when first launched, kept in memory and on disk, and launched through the driver.

#ifndef SG3TF_CUSTOM_OPS_JIT_KERNELS_H_
#define SG3TF_CUSTOM_OPS_JIT_KERNELS_H_

#include <stdint.h>

#include "custom_ops/jit/driver.h"
#include "custom_ops/jit/variant.h"

extern "C" {

// Returns a message about the last launch that failed in this thread, if its result was `code`.
const char* sg3_cuda_message(int code);

// Returns the name of the compiler, or the reason why there is none.
const char* sg3_cuda_compiler();

// Returns the folder of compiled kernels, or an empty string.
const char* sg3_cuda_cache_folder();
}

namespace sg3::jit {

// Stores the message for sg3_cuda_message and returns the code.
int fail(int code, const std::string& message);

// Bytes of shared memory on a device, and the number of its multiprocessors.
struct SharedMemory {
  int block, multiprocessor, reserved, multiprocessors;
};

int shared_memory(Stream stream, SharedMemory* result);

int compute_capability(Stream stream, int* major);

struct Launch {
  unsigned blocks, threads, shared_bytes;
  void** parameters;
  size_t parameter_bytes;
};

// Launches asynchronously. Kernels may use all the shared memory that a block can opt into.
int launch_kernel(const Variant& variant, const Launch& launch, Stream stream);

}  // namespace sg3::jit

#endif  // SG3TF_CUSTOM_OPS_JIT_KERNELS_H_
