// Emulates the warps of mma.h on the host: every thread of a block is a fiber, and the fibers of a warp meet at every
// joint operation.

#ifndef SG3TF_CUSTOM_OPS_RESAMPLING_TESTING_MMA_HOST_H_
#define SG3TF_CUSTOM_OPS_RESAMPLING_TESTING_MMA_HOST_H_

#include <ucontext.h>

#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "custom_ops/resampling/cuda/mma.h"

namespace sg3::cuda {

class FiberBlock;

// One lane's contribution to a joint operation.
struct Offer {
  uint32_t word, registers[4];
  char* row;
  float a[4][2], b[2][2];
  int8_t a_bytes[4][4], b_bytes[2][4];
};

// The interface of CudaLane.
struct FiberLane {
  int thread, lane, warp;
  FiberBlock* block;
  int turn = 0;  // of two sets of offers, so that a fast lane cannot overwrite what a slow one has yet to read
  std::vector<std::function<void()>> copies = {};  // not arrived yet

  void sync() const;
  void sync_warp();
  void copy(const uint32_t* global, uint32_t* shared);
  template <class V>
  void copy(const void* global, bool exists, V* shared);
  void wait_copies();
  uint32_t exchange(uint32_t value, int distance);
  uint32_t transpose(uint32_t matrix);
  template <int N>
  void load_matrices(const void* row, uint32_t* registers);
  template <int N>
  void store_matrices(const uint32_t* registers, void* row);
  template <class T>
  void multiply_add(const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4], float (&d)[4]);
  void multiply_add_8(uint32_t a0, uint32_t a1, uint32_t b, float (&c)[4]);
  void multiply_bytes(const uint32_t (&a)[4], const uint32_t (&b)[2], int (&d)[4]);

 private:
  // Publishes the offer, waits for the other lanes, and returns all 32.
  const Offer* meet(const Offer& offer);
  // A copy may arrive at once (here in even lanes) or only when it is waited for (in odd lanes).
  void start(const std::function<void()>& copy);
};

class FiberBlock {
 public:
  explicit FiberBlock(int threads) : threads_(threads), offers_(2 * threads) {}

  // Runs body(lane) in every thread.
  void run(const std::function<void(FiberLane&)>& body) {
    body_ = &body;
    std::vector<std::unique_ptr<Fiber>> fibers;
    for (int i = 0; i < threads_; ++i) fibers.push_back(std::make_unique<Fiber>(this, i));
    arrived_ = 0;
    for (bool alive = true; alive;) {
      alive = false;
      for (auto& fiber : fibers) {
        if (fiber->done) continue;
        current_ = fiber.get();
        swapcontext(&scheduler_, &fiber->context);
        alive = alive || !fiber->done;
      }
    }
  }

  void yield() { swapcontext(&current_->context, &scheduler_); }

  void sync() {
    const int generation = generation_;
    if (++arrived_ == threads_) {
      arrived_ = 0;
      ++generation_;
    }
    while (generation_ == generation) yield();
  }

  Offer* offers(int turn, int warp) { return &offers_[turn * threads_ + warp * 32]; }

 private:
  static constexpr size_t kStack = 256 << 10;

  struct Fiber {
    FiberBlock* block;
    ucontext_t context;
    std::vector<char> stack;
    FiberLane lane;
    bool done = false;

    Fiber(FiberBlock* owner, int thread) : block(owner), stack(kStack), lane{thread, thread % 32, thread / 32, owner} {
      getcontext(&context);
      context.uc_stack.ss_sp = stack.data();
      context.uc_stack.ss_size = stack.size();
      context.uc_link = &owner->scheduler_;
      const uintptr_t self = reinterpret_cast<uintptr_t>(this);
      makecontext(&context, reinterpret_cast<void (*)()>(&Fiber::enter), 2, unsigned(self), unsigned(self >> 32));
    }

    static void enter(unsigned low, unsigned high) {
      Fiber* self = reinterpret_cast<Fiber*>(uintptr_t(low) | uintptr_t(high) << 32);
      (*self->block->body_)(self->lane);
      self->done = true;
    }
  };

  int threads_, arrived_ = 0, generation_ = 0;
  std::vector<Offer> offers_;
  ucontext_t scheduler_;
  Fiber* current_ = nullptr;
  const std::function<void(FiberLane&)>* body_ = nullptr;
};

inline void FiberLane::sync() const { block->sync(); }

inline void FiberLane::sync_warp() { meet({}); }

inline void FiberLane::copy(const uint32_t* global, uint32_t* shared) {
  start([=] { *shared = *global; });
}

template <class V>
void FiberLane::copy(const void* global, bool exists, V* shared) {
  start([=] {
    if (exists) memcpy(shared, global, sizeof(V));
    if (!exists) *shared = {};
  });
}

inline void FiberLane::start(const std::function<void()>& copy) {
  if (lane % 2 == 0) copy();
  if (lane % 2 == 1) copies.push_back(copy);
}

inline void FiberLane::wait_copies() {
  for (const auto& copy : copies) copy();
  copies.clear();
}

inline const Offer* FiberLane::meet(const Offer& offer) {
  turn ^= 1;
  block->offers(turn, warp)[lane] = offer;
  block->yield();
  return block->offers(turn, warp);
}

inline uint32_t FiberLane::exchange(uint32_t value, int distance) {
  Offer offer = {};
  offer.word = value;
  return meet(offer)[lane ^ distance].word;
}

inline uint32_t FiberLane::transpose(uint32_t matrix) {
  Offer offer = {};
  offer.word = matrix;
  const Offer* all = meet(offer);
  uint32_t result = 0;
  for (int e = 0; e < 2; ++e) {
    const int row = lane % 4 * 2 + e, column = lane / 4;
    result |= (all[row * 4 + column / 2].word >> column % 2 * 16 & 0xffff) << e * 16;
  }
  return result;
}

template <int N>
void FiberLane::load_matrices(const void* row, uint32_t* registers) {
  Offer offer = {};
  offer.row = static_cast<char*>(const_cast<void*>(row));
  const Offer* all = meet(offer);
  for (int n = 0; n < N; ++n) {
    uint16_t pair[2];
    for (int e = 0; e < 2; ++e) memcpy(&pair[e], all[n * 8 + lane % 4 * 2 + e].row + lane / 4 * 2, 2);
    registers[n] = pair[0] | uint32_t(pair[1]) << 16;
  }
}

template <int N>
void FiberLane::store_matrices(const uint32_t* registers, void* row) {
  Offer offer = {};
  offer.row = static_cast<char*>(row);
  const Offer* all = meet(offer);
  for (int n = 0; n < N; ++n) {
    for (int e = 0; e < 2; ++e) {
      const uint16_t half = uint16_t(registers[n] >> 16 * e);
      memcpy(all[n * 8 + lane % 4 * 2 + e].row + lane / 4 * 2, &half, 2);
    }
  }
}

template <class T>
void FiberLane::multiply_add(const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4], float (&d)[4]) {
  Offer offer = {};
  for (int e = 0; e < 2; ++e) {
    for (int r = 0; r < 4; ++r) offer.a[r][e] = to_float(T{uint16_t(a[r] >> 16 * e)});
    for (int r = 0; r < 2; ++r) offer.b[r][e] = to_float(T{uint16_t(b[r] >> 16 * e)});
  }
  const Offer* all = meet(offer);
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    d[i] = c[i];
    for (int k = 0; k < 16; ++k) {
      const float from_a = all[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2][k % 2];
      d[i] += from_a * all[column * 4 + k % 8 / 2].b[k / 8][k % 2];
    }
  }
}

inline void FiberLane::multiply_bytes(const uint32_t (&a)[4], const uint32_t (&b)[2], int (&d)[4]) {
  Offer offer = {};
  memcpy(offer.a_bytes, a, sizeof(a));
  memcpy(offer.b_bytes, b, sizeof(b));
  const Offer* all = meet(offer);
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    d[i] = 0;
    for (int k = 0; k < 32; ++k) {
      const int from_a = all[row % 8 * 4 + k % 16 / 4].a_bytes[row / 8 + k / 16 * 2][k % 4];
      d[i] += from_a * all[column * 4 + k % 16 / 4].b_bytes[k / 16][k % 4];
    }
  }
}

inline void FiberLane::multiply_add_8(uint32_t a0, uint32_t a1, uint32_t b, float (&c)[4]) {
  multiply_add<Half>({a0, a1, 0, 0}, {b, 0}, c, c);
}

}  // namespace sg3::cuda

#endif  // SG3TF_CUSTOM_OPS_RESAMPLING_TESTING_MMA_HOST_H_
