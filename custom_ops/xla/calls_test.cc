// Problems survive packing and unpacking; every tile is computed exactly once, on any thread.

#include <atomic>
#include <cmath>
#include <cstdio>
#include <functional>
#include <thread>
#include <vector>

#include "custom_ops/xla/pack.h"
#include "custom_ops/xla/share.h"

namespace sg3::testing {
namespace {

int failures = 0;

void expect(bool condition, const char* what) {
  if (condition) return;
  printf("wrong: %s\n", what);
  ++failures;
}

void test_pack() {
  const double taps[] = {0.1, -1 / 3.0, 5e-324, NAN, 1e300, 0.7, -0.0, 8};
  Sg3FilteredLrelu problem = {};
  problem.channels = int64_t{1} << 62;
  problem.up = {{2, 1, -7, 3, 10, 20}, {1, 1, 0, 1, 5, 5}, 2, taps, taps + 6};
  problem.down = {{1, 2, 0, 4, 20, 10}, {1, 3, 0, 2, 5, 5}, 1, taps + 2, taps};
  problem.clamp = INFINITY, problem.mode = SG3_APPLY_MASK;
  std::vector<int64_t> words = pack(problem);
  auto copy = unpack<Sg3FilteredLrelu>(words.data());
  expect(copy.channels == problem.channels && copy.clamp == problem.clamp && copy.mode == problem.mode, "fields");
  expect(copy.up.y.before == -7 && copy.down.x.down == 3, "axes");
  expect(memcmp(copy.up.taps_y, taps, 6 * sizeof(double)) == 0, "up.taps_y");
  expect(memcmp(copy.up.taps_x, taps + 6, 2 * sizeof(double)) == 0, "up.taps_x");
  expect(memcmp(copy.down.taps_y, taps + 2, 4 * sizeof(double)) == 0, "down.taps_y");
  expect(memcmp(copy.down.taps_x, taps, 2 * sizeof(double)) == 0, "down.taps_x");
  expect(words.size() * sizeof(int64_t) == sizeof(problem) + 14 * sizeof(double), "size");
}

// Starts tasks at once, or only on destruction.
class Pool {
 public:
  Pool(int64_t threads, bool late) : threads_(threads), late_(late) {}
  ~Pool() {
    for (auto& task : tasks_) task();
    for (std::thread& thread : started_) thread.join();
  }

  int64_t num_threads() const { return threads_; }
  void Schedule(std::function<void()> task) {
    if (late_) {
      tasks_.push_back(task);
    } else {
      started_.emplace_back(task);
    }
  }

 private:
  int64_t threads_;
  bool late_;
  std::vector<std::function<void()>> tasks_;
  std::vector<std::thread> started_;
};

void test_share(int64_t threads, bool late, int64_t count, int64_t cycles) {
  std::vector<std::atomic<int>> times(count);
  Pool pool(threads, late);
  share(pool, count, cycles, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) ++times[i];
  });
  bool once = true;
  for (const auto& n : times) once = once && n == 1;
  expect(once, "number of times that a tile is computed");
}

int main() {
  test_pack();
  for (int64_t threads : {0, 1, 2, 7}) {  // 0: no pool
    for (bool late : {false, true}) {
      for (int64_t count : {0, 1, 2, 5, 1000}) {
        for (int64_t cycles : {1, 1000000}) test_share(threads, late, count, cycles);
      }
    }
  }
  return failures != 0;
}

}  // namespace
}  // namespace sg3::testing

int main() { return sg3::testing::main(); }
