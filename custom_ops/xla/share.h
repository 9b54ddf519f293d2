// Runs tiles on the thread on which XLA calls a handler and on the other threads of its pool.

#ifndef SG3TF_CUSTOM_OPS_XLA_SHARE_H_
#define SG3TF_CUSTOM_OPS_XLA_SHARE_H_

#include <stdint.h>

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>

namespace sg3 {

// Keeps track of the next tile to be taken and of the number of tiles not done yet.
class Tiles {
 public:
  Tiles(int64_t count, int64_t at_once) : count_(count), at_once_(at_once), next_(0), left_(count) {}

  // Calls run(first, last) until no tile is left to take.
  template <class Run>
  void work(const Run& run) {
    for (int64_t first; (first = take()) < count_;) {
      int64_t last = std::min(first + at_once_, count_);
      run(first, last);
      done(last - first);
    }
  }

  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    all_done_.wait(lock, [this] { return left_ == 0; });
  }

 private:
  int64_t take() {
    std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(next_, std::min(next_ + at_once_, count_));
  }

  void done(int64_t tiles) {
    std::lock_guard<std::mutex> lock(mutex_);
    if ((left_ -= tiles) == 0) all_done_.notify_all();
  }

  const int64_t count_, at_once_;
  std::mutex mutex_;
  std::condition_variable all_done_;
  int64_t next_, left_;
};

// Calls run(first, last) for all of [0, count), on this thread and up to pool.num_threads() - 1 others.
//
// This thread may belong to the pool, so it must not wait for tasks to start, only for tiles that are being computed. A
// task that starts after all tiles were taken, perhaps after this function returned, uses nothing but `tiles`.
template <class Pool, class Run>
void share(Pool& pool, int64_t count, int64_t cycles_of_one, const Run& run) {
  constexpr int64_t kMinTaskCycles = 100000, kRangesPerThread = 4;
  int64_t max_tasks = 1 + count * cycles_of_one / kMinTaskCycles;
  int64_t threads = std::max<int64_t>(1, std::min({int64_t{pool.num_threads()}, count, max_tasks}));
  auto tiles = std::make_shared<Tiles>(count, std::max<int64_t>(1, count / (kRangesPerThread * threads)));
  for (int64_t i = 1; i < threads; ++i) {
    pool.Schedule([tiles, &run] { tiles->work(run); });
  }
  tiles->work(run);
  tiles->wait();
}

// Runs all tiles of `cpu`, a Tiled (cpu/tiled.h).
template <class Pool, class Cpu>
void run_on_pool(Pool& pool, const Cpu& cpu, const typename Cpu::Arrays& arrays) {
  share(pool, cpu.tiles(), cpu.tile_cycles(), [&](int64_t first, int64_t last) { cpu.run(first, last, arrays); });
}

}  // namespace sg3

#endif  // SG3TF_CUSTOM_OPS_XLA_SHARE_H_
