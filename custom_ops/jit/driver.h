// NVIDIA's driver, libcuda.so.1. It is opened when first needed, so that the library loads without it. No CUDA headers.

#ifndef SG3TF_CUSTOM_OPS_JIT_DRIVER_H_
#define SG3TF_CUSTOM_OPS_JIT_DRIVER_H_

#include <stddef.h>

#include <string>

namespace sg3::jit {

// The results of the driver (CUresult) that this code distinguishes. The same numbers mean the same as a cudaError_t.
enum Result : int {
  kSuccess = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kNotInitialized = 3,
  kOldDriver = 35,  // cudaErrorInsufficientDriver; the driver itself never returns it
  kInvalidImage = 200,
  kNoBinaryForGpu = 209,
  kInvalidPtx = 218,
  kNoCompiler = 221,
  kUnsupportedPtx = 222,
  kInvalidSource = 300,
  kOutOfResources = 701,  // of a launch: too many registers or threads
  kNotSupported = 801,
};

// Values of CUdevice_attribute and CUfunction_attribute.
enum DeviceAttribute : int {
  kMultiprocessors = 16,
  kCapabilityMajor = 75,
  kCapabilityMinor = 76,
  kSharedOfMultiprocessor = 81,
  kSharedOfBlock = 97,  // the most that a kernel can opt into
  kSharedReserved = 111,
};
enum FunctionAttribute : int { kMaxDynamicShared = 8 };

using Context = struct ContextHandle*;
using Module = struct ModuleHandle*;
using Function = struct FunctionHandle*;
using Stream = void*;

// The functions of the driver, under their own names.
struct Driver {
  int (*cuDriverGetVersion)(int* version);
  int (*cuGetErrorName)(int result, const char** name);
  int (*cuStreamGetCtx)(Stream stream, Context* context);
  int (*cuCtxPushCurrent)(Context context);
  int (*cuCtxPopCurrent)(Context* context);
  int (*cuCtxGetDevice)(int* device);
  int (*cuDeviceGetAttribute)(int* value, int attribute, int device);
  int (*cuModuleLoadData)(Module* module, const void* image);
  int (*cuModuleGetFunction)(Function* function, Module module, const char* name);
  int (*cuFuncSetAttribute)(Function function, int attribute, int value);
  int (*cuLaunchKernel)(Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                        unsigned block_y, unsigned block_z, unsigned shared_bytes, Stream stream, void** parameters,
                        void** extra);

  int version;  // of CUDA, 12040 for 12.4
};

// Returns the driver, or null and the reason. SG3TF_LIBCUDA selects another file.
const Driver* find_driver(std::string* reason);

// Returns "12.4" for 12040.
std::string version_text(int version);

}  // namespace sg3::jit

#endif  // SG3TF_CUSTOM_OPS_JIT_DRIVER_H_
