// Runs the CUDA kernels for any shape and for no filters on the host, and compares them with the definition for many
// geometries.

#include <cstring>
#include <string>

#include "custom_ops/filtered_lrelu/cuda_plan.h"
#include "custom_ops/filtered_lrelu/cuda_pointwise_plan.h"
#include "custom_ops/filtered_lrelu/lrelu_host_test.h"
#include "custom_ops/resampling/testing/cuda_host.h"

namespace sg3::cuda {
namespace {

struct Factors {
  int64_t up_y, up_x, up_taps, down_y, down_x, down_taps;
};

struct Case {
  Factors factors;
  int64_t up_terms, down_terms;
  int64_t height, width;
  int64_t before, after;            // of the upsampling
  int64_t down_before, down_after;  // of the downsampling; the adjoint's is not 0
  int64_t channels, batch;
  int mode, type;
  double clamp;
  int64_t shared_bytes;

  std::string name() const {
    char text[300];
    const Factors& f = factors;
    snprintf(text, sizeof(text),
             "up %dx%d/%d(%d terms) down %dx%d/%d(%d terms) size %dx%d pad %d,%d then %d,%d C %d N %d mode %d type %d "
             "clamp %g shared %d",
             int(f.up_y), int(f.up_x), int(f.up_taps), int(up_terms), int(f.down_y), int(f.down_x), int(f.down_taps),
             int(down_terms), int(height), int(width), int(before), int(after), int(down_before), int(down_after),
             int(channels), int(batch), mode, type, clamp, int(shared_bytes));
    return text;
  }
};

Sg3Axis axis(int64_t up, int64_t down, int64_t before, int64_t after, int64_t taps, int64_t in_size) {
  return {up, down, before, taps, in_size, (in_size * up + before + after - taps) / down + 1};
}

struct Setup : LreluSetup {
  explicit Setup(const Case& c) : LreluSetup(make_up(c), make_down(c), c.batch, c.channels, c.clamp, c.mode, c.type) {}

  static OwnedStage make_up(const Case& c) {
    const Factors& f = c.factors;
    return {axis(f.up_y, 1, c.before, c.after, f.up_taps, c.height),
            axis(f.up_x, 1, c.before, c.after, f.up_taps, c.width), c.up_terms};
  }
  static OwnedStage make_down(const Case& c) {
    const Factors& f = c.factors;
    const Sg3Stage up = make_up(c).get();
    return {axis(1, f.down_y, c.down_before, c.down_after, f.down_taps, up.y.out_size),
            axis(1, f.down_x, c.down_before, c.down_after, f.down_taps, up.x.out_size), c.down_terms};
  }
};

// Runs all blocks. A block that writes masks starts with an unwritten mask, so that writers can be counted.
template <int MODE>
void run_blocks(const LreluPlan& plan, const std::vector<float>& taps, Setup* s, Tensor* y, std::vector<int>* writers) {
  const int64_t blocks = num_blocks(plan);
  std::vector<uint32_t> fresh = s->mask;
  for (int64_t b = 0; b < blocks; ++b) {
    Shared shared(plan.shared_floats);
    const LreluBlock<MODE> block(plan, taps.data(), s->x.data(), MODE == SG3_APPLY_MASK ? nullptr : s->bias.data(),
                                 y->data(), fresh.data(), shared.get(), b);
    block.run_all(SerialPhases{plan.threads});
    if (MODE != SG3_ACTIVATE_AND_MASK) continue;
    for (size_t i = 0; i < fresh.size(); ++i) {
      if (fresh[i] == kUnwritten) continue;
      s->mask[i] = fresh[i];
      ++(*writers)[i];
      fresh[i] = kUnwritten;
    }
  }
}

template <int MODE>
void run_threads(int type, Setup* s, Tensor* y, std::vector<int>* writers) {
  const PointwisePlan plan = pointwise_plan(s->problem);
  for (int64_t word = 0; word < plan.words; ++word) {
    with_type(type, [&](auto zero) {
      using T = decltype(zero);
      run_pointwise<T, MODE>(plan, static_cast<T*>(s->x.data()), static_cast<T*>(s->bias.data()),
                             static_cast<T*>(y->data()), s->mask.data(), word);
    });
    ++(*writers)[word];
  }
}

// Returns the number of failures, 0 or 1.
int check(const Case& c, bool pointwise) {
  Setup s(c);
  LreluPlan plan = lrelu_plan(s.problem, c.type, c.channels % (16 / bytes_of(c.type)) == 0);
  std::vector<float> taps(num_taps(plan));
  copy_taps(s.problem, plan, taps.data());
  Tensor y(c.type, Doubles(s.outputs(), std::numeric_limits<double>::quiet_NaN()));
  std::vector<int> writers(s.mask.size());
  if (pointwise) {
    if (!is_pointwise(s.problem)) return 1;
    if (c.mode == SG3_ACTIVATE) run_threads<SG3_ACTIVATE>(c.type, &s, &y, &writers);
    if (c.mode == SG3_ACTIVATE_AND_MASK) run_threads<SG3_ACTIVATE_AND_MASK>(c.type, &s, &y, &writers);
    if (c.mode == SG3_APPLY_MASK) run_threads<SG3_APPLY_MASK>(c.type, &s, &y, &writers);
  } else if (choose_tiles(&plan, {c.shared_bytes, c.shared_bytes / 2})) {
    if (c.mode == SG3_ACTIVATE) run_blocks<SG3_ACTIVATE>(plan, taps, &s, &y, &writers);
    if (c.mode == SG3_ACTIVATE_AND_MASK) run_blocks<SG3_ACTIVATE_AND_MASK>(plan, taps, &s, &y, &writers);
    if (c.mode == SG3_APPLY_MASK) run_blocks<SG3_APPLY_MASK>(plan, taps, &s, &y, &writers);
  }

  Doubles z = testing::resample(s.problem.up, c.batch, c.channels, s.biased());
  int wrong = 0;
  if (c.mode == SG3_ACTIVATE_AND_MASK) {
    wrong = s.wrong_words(z, Doubles(z.size(), 1e-5));
    for (const int count : writers) wrong += count > 1;
  }
  s.activate(&z);
  const double error = relative_error(y.values(), testing::resample(s.problem.down, c.batch, c.channels, z));
  if (error <= tolerance(c.type) && wrong == 0) return 0;
  printf("FAILED, error %g, %d of %d words wrong, tiles %dx%d of %dx%d: %s\n", error, wrong, int(s.mask.size()),
         plan.y.tiles, plan.x.tiles, plan.y.outputs, plan.x.outputs, c.name().c_str());
  return 1;
}

bool is_empty(const Case& c) {
  const Sg3Stage up = Setup::make_up(c).get();
  if (up.y.out_size < 1 || up.x.out_size < 1) return true;
  const Sg3Stage down = Setup::make_down(c).get();
  return down.y.out_size < 1 || down.x.out_size < 1;
}

Case random_case() {
  static const Factors kFactors[] = {
      {2, 2, 12, 2, 2, 12}, {4, 4, 24, 2, 2, 12}, {2, 2, 12, 4, 4, 24}, {1, 1, 1, 1, 1, 1},
      {1, 1, 1, 2, 2, 12},  {2, 2, 12, 1, 1, 1},  {2, 1, 5, 1, 3, 4},   {3, 2, 7, 2, 3, 6},
      {1, 4, 9, 4, 1, 2},   {3, 3, 2, 2, 2, 1},   {2, 4, 16, 4, 2, 3},  {4, 4, 24, 4, 4, 24},
  };
  Case c = {};
  c.factors = kFactors[generator()() % 12];
  const bool separable = generator()() % 2;
  c.up_terms = separable ? 1 : choose({1, 2, 4});
  c.down_terms = separable ? 1 : choose({1, 2, 6});
  c.height = choose({5, 8, 13, 20});
  c.width = choose({5, 9, 12, 23});
  c.before = choose({-11, -3, -2, 0, 1, 4, 9, 11, 15});
  c.after = choose({-12, -3, -1, 0, 2, 5, 10, 16});
  c.down_before = choose({0, 0, 0, -2, 3, 11});
  c.down_after = choose({0, 0, 0, -1, 2, 11});
  c.channels = choose({1, 3, 16, 37, 64, 8});
  c.batch = choose({1, 2});
  c.mode = int(choose({SG3_ACTIVATE, SG3_ACTIVATE_AND_MASK, SG3_APPLY_MASK}));
  c.type = int(choose({SG3_FLOAT32, SG3_FLOAT32, SG3_FLOAT16, SG3_BFLOAT16}));
  c.clamp = generator()() % 4 ? 0.3 : std::numeric_limits<double>::infinity();
  c.shared_bytes = choose({100, 163, 227}) << 10;
  return is_empty(c) ? random_case() : c;
}

int run_all(int cases) {
  int failures = 0;
  for (int i = 0; i < cases; ++i) failures += check(random_case(), false);
  for (int i = 0; i < cases / 10; ++i) {
    Case c = random_case();
    c.factors = {1, 1, 1, 1, 1, 1};
    c.up_terms = c.down_terms = 1;
    c.before = c.after = c.down_before = c.down_after = 0;
    failures += check(c, true);
  }
  printf("%d cases, %d failures\n", cases, failures);
  return failures != 0;
}

}  // namespace
}  // namespace sg3::cuda

int main(int argc, char** argv) { return sg3::cuda::run_all(argc > 1 ? atoi(argv[1]) : 1000); }
