// A libcuda.so.1 that hands each module and launch to a callback, for launches.py. It answers as an H100 or H200 does,
// except for the compute capability, which is given.

#include <string>

namespace {

struct Function {
  int module;
  std::string name;
};

int arch = 90;
int (*on_load)(const void* image);  // returns the module's number
void (*on_launch)(int module, const char* name, const unsigned* grid, const unsigned* block, unsigned shared,
                  void** parameters);
char context;

}  // namespace

extern "C" {

void sg3_record(int compute_capability, decltype(on_load) load, decltype(on_launch) launch) {
  arch = compute_capability;
  on_load = load;
  on_launch = launch;
}

int cuDriverGetVersion(int* version) { return *version = 13000, 0; }
int cuGetErrorName(int, const char** name) { return *name = "", 1; }
int cuStreamGetCtx(void*, void** result) { return *result = &context, 0; }
int cuCtxPushCurrent_v2(void*) { return 0; }
int cuCtxPopCurrent_v2(void**) { return 0; }
int cuCtxGetDevice(int* device) { return *device = 0; }
int cuFuncSetAttribute(void*, int, int) { return 0; }

int cuDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {
    case 16:  // multiprocessors
      return *value = 132, 0;
    case 75:
      return *value = arch / 10, 0;
    case 76:
      return *value = arch % 10, 0;
    case 81:  // shared memory: of a multiprocessor, the most for a block, what the driver takes
      return *value = 233472, 0;
    case 97:
      return *value = 232448, 0;
    case 111:
      return *value = 1024, 0;
  }
  return 1;
}

int cuModuleLoadData(void** result, const void* image) {
  *result = new Function{on_load(image), ""};
  return 0;
}

int cuModuleGetFunction(void** result, void* module, const char* name) {
  *result = new Function{static_cast<Function*>(module)->module, name};
  return 0;
}

int cuLaunchKernel(void* launched, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared, void*, void** parameters, void**) {
  const Function& function = *static_cast<Function*>(launched);
  const unsigned grid[] = {grid_x, grid_y, grid_z}, block[] = {block_x, block_y, block_z};
  on_launch(function.module, function.name.c_str(), grid, block, shared, parameters);
  return 0;
}
}
