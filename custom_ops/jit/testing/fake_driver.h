// What the fake driver records, for tests to read.

#ifndef SG3TF_CUSTOM_OPS_JIT_TESTING_FAKE_DRIVER_H_
#define SG3TF_CUSTOM_OPS_JIT_TESTING_FAKE_DRIVER_H_

extern "C" {

struct FakeCuda {
  int contexts;  // pushed and not popped
  int modules, launches;
  int shared_limit;                          // of the last function
  unsigned grid[3], block[3], shared_bytes;  // of the last launch
  void* stream;                              // likewise
  char function[64];                         // the last one that was found or launched
  char image[8];                             // the beginning of the last module
  void (*on_launch)(void** parameters);      // called by every launch unless null
  int allocations;                           // of memory that is not freed yet
  float milliseconds;                        // between any two events
};

extern FakeCuda fake_cuda;
}

#endif  // SG3TF_CUSTOM_OPS_JIT_TESTING_FAKE_DRIVER_H_
