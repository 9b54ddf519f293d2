// Peak speeds of this machine: multiply-adds in registers, and copies of more memory than caches hold.
//
// peaks THREADS prints one JSON object. Each number is the best of several tries, as other programs may be running.

#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
typedef float Vector __attribute__((vector_size(kVectorBytes)));

constexpr int kTries = 5;
constexpr int kChains = 12;  // two units with a latency of four need eight; sixteen registers hold twelve and two more
constexpr long kRounds = 40'000'000;
constexpr double kGiga = 1e9;

volatile float sink;
volatile float factor = 0.999f, addend = 0.001f;  // unknown to the compiler

using Clock = std::chrono::steady_clock;

// Returns the seconds from the start of the first thread's work(thread) to the end of the last one's.
template <typename Work>
double Seconds(int threads, Work work) {
  std::barrier ready(threads);
  std::vector<Clock::time_point> starts(threads), ends(threads);
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t) {
    pool.emplace_back([&, t] {
      ready.arrive_and_wait();
      starts[t] = Clock::now();
      work(t);
      ends[t] = Clock::now();
    });
  }
  for (std::thread& thread : pool) thread.join();
  const auto first = *std::min_element(starts.begin(), starts.end());
  return std::chrono::duration<double>(*std::max_element(ends.begin(), ends.end()) - first).count();
}

template <typename Work>
double BestSeconds(int threads, Work work) {
  double best = Seconds(threads, work);
  for (int i = 1; i < kTries; ++i) best = std::min(best, Seconds(threads, work));
  return best;
}

void MultiplyAdd() {
  const Vector a = Vector{} + factor, b = Vector{} + addend;
  Vector sums[kChains];
  for (Vector& sum : sums) sum = Vector{} + addend;  // a volatile read, so that the compiler cannot merge them
  for (long i = 0; i < kRounds; ++i) {
    for (Vector& sum : sums) sum = sum * a + b;
  }
  Vector total = {};
  for (const Vector& sum : sums) total += sum;
  sink = total[0];
}

double FmaGflops(int threads) {
  const double flop = 2.0 * kChains * (kVectorBytes / sizeof(float)) * kRounds;
  return threads * flop / BestSeconds(threads, [](int) { MultiplyAdd(); }) / kGiga;
}

double CopyGigabytes(int threads, size_t bytes) {
  const size_t share = bytes / threads;
  std::unique_ptr<char[]> from(new char[bytes]), to(new char[bytes]);
  std::memset(from.get(), 1, bytes);  // allocates the pages
  std::memset(to.get(), 2, bytes);
  const auto copy = [&](int t) { std::memcpy(to.get() + t * share, from.get() + t * share, share); };
  const double best = BestSeconds(threads, copy);
  sink = to[bytes / 2];
  return 2.0 * share * threads / best / kGiga;  // read and written
}

size_t CopyBytes() {
  const long cache = std::max(sysconf(_SC_LEVEL3_CACHE_SIZE), 0L);
  return std::clamp(4 * static_cast<size_t>(cache), size_t{128} << 20, size_t{512} << 20);
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::max(std::atoi(argv[1]), 1) : 1;
  const size_t bytes = CopyBytes();
  std::printf(
      "{\"vector_bits\": %d, \"fma_gflop_per_second_one_core\": %.1f, \"fma_gflop_per_second\": %.1f, "
      "\"copy_gb_per_second_one_core\": %.2f, \"copy_gb_per_second\": %.2f, \"copied_megabytes\": %zu}\n",
      8 * kVectorBytes, FmaGflops(1), FmaGflops(threads), CopyGigabytes(1, bytes), CopyGigabytes(threads, bytes),
      bytes >> 20);
}
